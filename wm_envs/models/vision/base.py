"""V: what every kind offers, and the conversion between frames and images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from wm_envs.models.kinds import KindConfig
from wm_envs.models.vision.loss import SQUARED, vae_loss
from wm_envs.validation import STRICT, Size

LOGVAR_RANGE = (-12.0, 6.0)  # keeps exp() finite for any weights
Channels = Annotated[tuple[Size, Size, Size, Size], Field(description="channels of the four convolutions")]


@dataclass(frozen=True, config=STRICT)
class VisionConfig(KindConfig):
    """What the config of every V has."""

    latent: Annotated[Size, Field(description="Z, latent dimensions")] = 64

    @classmethod
    def usual_latent(cls, of_game: int, **fields: Any) -> int:
        """The latent dimensions that this kind has with these fields, where the paper has `of_game`."""
        return of_game


class Vision(nn.Module, ABC):
    """Frames as images (B, 3, 64, 64) in [0, 1] <-> latents (B, Z)."""

    config: VisionConfig

    @abstractmethod
    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 64, 64) in [0, 1] -> mean and log variance of the latents, (B, Z) each."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) -> (B, 3, 64, 64) in [0, 1]."""

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mean and log variance, for training; `noise` (B, Z) is standard normal."""
        mean, logvar = self.encode(images)
        return self.decode(mean + noise * (logvar / 2).exp()), mean, logvar

    def prepare(self, images: Tensor) -> None:
        """Measure what the network must know of its data, on images (N, 3, 64, 64), before it is trained."""

    def loss(
        self, images: Tensor, reconstruction: Tensor, mean: Tensor, logvar: Tensor, weight: Tensor | None = None,
        kl_floor: float | None = None, scale: float = 1.0, error: str = SQUARED,
    ) -> Tensor:  # fmt: skip
        """The loss of a batch, a scalar; see `vae_loss`."""
        return vae_loss(images, reconstruction, mean, logvar, weight, kl_floor, scale, error)


def draw_latents(mean: Tensor, logvar: Tensor, scale: float, normal: Tensor) -> Tensor:
    """Latents (B, Z) = mean + `scale` * std * normal, from the posterior N(mean, exp(logvar))."""
    return mean + scale * (logvar / 2).exp() * normal


def to_images(frames: Tensor) -> Tensor:
    """Frames (B, 64, 64, 3) uint8 -> images (B, 3, 64, 64) float32 in [0, 1], channels last."""
    return frames.permute(0, 3, 1, 2).float().div_(255.0)


def to_frames(images: Tensor) -> Tensor:
    """Images (B, 3, 64, 64) in [0, 1] -> frames (B, 64, 64, 3) uint8."""
    return images.float().mul(255.0).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
