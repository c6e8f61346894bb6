"""What the kinds of V share that encode how a frame differs from the mean frame of its game.

In many games little moves in front of a fixed background. A V of whole pictures first learns to draw the background,
and what moves is then too small a part of its error to learn: of Pong the paper's V draws neither the paddles nor the
ball. Here the background is measured before the training.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from wm_envs.models.vision.base import Vision

LEAST_SPREAD = 0.02  # of a pixel in [0, 1], about that of Pong


class ResidualVision(Vision):
    """Networks between (picture - `page`) / `spread` and the latents.

    `page` (3, 64, 64) is the mean picture, and `spread` the root mean square of what differs from it. Both are part of
    the weights, and `prepare` measures them.
    """

    page: Tensor
    spread: Tensor

    def add_page(self) -> None:
        """Make the buffers; for the constructor of a kind."""
        self.register_buffer("page", torch.zeros(3, 64, 64))
        self.register_buffer("spread", torch.ones(()))

    @abstractmethod
    def encode_difference(self, differences: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 64, 64), in units of `spread` -> mean and log variance of the latents, (B, Z) each."""

    @abstractmethod
    def decode_difference(self, latents: Tensor) -> Tensor:
        """(B, Z) -> (B, 3, 64, 64), in units of `spread`."""

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Measure `page` and `spread` on images (N, 3, 64, 64) in [0, 1]."""
        self.page.copy_(images.mean(0))
        self.spread.copy_((images - self.page).square().mean().sqrt().clamp_min(LEAST_SPREAD))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 64, 64) in [0, 1] -> mean and log variance of the latents, (B, Z) each."""
        return self.encode_difference((images - self.page) / self.spread)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) -> (B, 3, 64, 64) in [0, 1]."""
        return self._draw(latents).clamp(0, 1)

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mean and log variance; `noise` (B, Z) is standard normal.

        For training, the reconstruction is not cut off at 0 and 1, where it would have no gradient.
        """
        mean, logvar = self.encode(images)
        return self._draw(mean + noise * (logvar / 2).exp()), mean, logvar

    def _draw(self, latents: Tensor) -> Tensor:
        return self.page + self.spread * self.decode_difference(latents).float()
