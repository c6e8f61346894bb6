"""A kind of V and a kind of M outside of the package, and the fixture that registers them."""

from collections.abc import Iterator
from dataclasses import KW_ONLY
from typing import Annotated, Literal, NamedTuple

import pytest
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from wm_envs.models.memory.base import Memory, MemoryConfig
from wm_envs.models.memory.registry import memory_kinds, register_memory
from wm_envs.models.state import LATENT_LIMIT, Noise, Recurrent
from wm_envs.models.vision.base import LOGVAR_RANGE, Vision, VisionConfig
from wm_envs.models.vision.registry import register_vision, vision_kinds
from wm_envs.validation import STRICT


@dataclass(frozen=True, config=STRICT)
class PooledVAEConfig(VisionConfig):
    cells: Annotated[int, Field(ge=1, le=16, description="cells of the grid in each direction")] = 4
    _: KW_ONLY
    kind: str = "pooled-vae"


class PooledVAE(Vision):
    """A linear V on the mean colours of a grid of cells, less those of the mean frame."""

    config: PooledVAEConfig
    mean_frame: Tensor

    def __init__(self, config: PooledVAEConfig) -> None:
        super().__init__()
        self.config = config
        colours = 3 * config.cells**2
        self.encoder, self.decoder = nn.Linear(colours, 2 * config.latent), nn.Linear(config.latent, colours)
        self.register_buffer("mean_frame", torch.zeros(3, 64, 64))

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        self.mean_frame.copy_(images.mean(0))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        grid = F.adaptive_avg_pool2d(images - self.mean_frame, self.config.cells)  # (B, 3, cells, cells)
        mean, logvar = self.encoder(grid.flatten(1)).chunk(2, dim=1)
        return mean, logvar.float().clamp(*LOGVAR_RANGE)

    def decode(self, latents: Tensor) -> Tensor:
        grid = self.decoder(latents).unflatten(1, (3, self.config.cells, -1))
        return (self.mean_frame + F.interpolate(grid, (64, 64))).clamp(0, 1)


@dataclass(frozen=True, config=STRICT)
class GaussianGRUConfig(MemoryConfig):
    mixtures: Literal[1] = 1  # no option: it has no description
    _: KW_ONLY
    kind: str = "gaussian-gru"


class Gaussian(NamedTuple):
    mean: Tensor  # (..., Z)
    log_std: Tensor  # (..., Z)
    termination: Tensor  # (...)
    reward: Tensor | None  # (..., R)


class GaussianGRU(Memory):
    """A GRU whose head gives one Gaussian for each latent dimension."""

    config: GaussianGRUConfig

    def __init__(self, config: GaussianGRUConfig) -> None:
        super().__init__()
        self.config, self.rewards = config, config.reward * (1 + config.end_reward)
        self.gru = nn.GRU(self.inputs, config.hidden)
        self.head = nn.Linear(config.hidden, 2 * config.latent + 1 + self.rewards)

    @property
    def recurrent_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"hidden": (self.config.hidden,)}

    def features(self, recurrent: Recurrent) -> dict[str, Tensor]:
        return {"h": recurrent[0], "c": recurrent[0]}

    def forward(self, inputs: Tensor, recurrent: Recurrent) -> tuple[Tensor, Recurrent]:
        hidden, last = self.gru(inputs, recurrent[0][None])
        return self.head(hidden), (last[0],)

    def split(self, outputs: Tensor) -> Gaussian:
        z = self.config.latent
        mean, log_std, termination, reward = outputs.split((z, z, 1, self.rewards), dim=-1)
        return Gaussian(mean, log_std.clamp(-5, 2), termination[..., 0], reward if self.rewards else None)

    def nll(self, prediction: Gaussian, latents: Tensor) -> Tensor:
        return -Normal(prediction.mean, prediction.log_std.exp()).log_prob(latents)

    def weights(self, prediction: Gaussian, latents: Tensor) -> Tensor:
        return torch.ones_like(prediction.mean)[..., None, :]

    def sample(self, prediction: Gaussian, temperature: Tensor, noise: Noise) -> Tensor:
        drawn = prediction.mean + prediction.log_std.exp() * temperature.sqrt() * noise.normal
        return drawn.clamp(-LATENT_LIMIT, LATENT_LIMIT)

    @torch.no_grad()
    def shift_termination(self, shift: float) -> None:
        self.head.bias[2 * self.config.latent] += shift


@pytest.fixture
def outside_kinds() -> Iterator[None]:
    """The two kinds are registered until the test ends."""
    register_vision(PooledVAEConfig, PooledVAE)
    register_memory(GaussianGRUConfig, GaussianGRU)
    yield
    del vision_kinds()["pooled-vae"], memory_kinds()["gaussian-gru"]
