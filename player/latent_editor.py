"""The latent editor: a value for each latent dimension, and V's picture of them all."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from wm_envs.models.world_model import WorldModel

LIMIT, STEP = 4.0, 0.25  # V's latents are about standard normal
SHOWN = 16  # sliders at once


class Editor:
    """Latents (1, Z) to turn one by one, those first that V is surest of (the others draw next to nothing)."""

    def __init__(self, world: WorldModel, latents: torch.Tensor) -> None:
        self.world, self.latents = world, latents.clone()
        self.order: list[int] = world.initial_logvars.mean(dim=0).argsort().tolist()
        self.at = 0  # position in `order`

    @property
    def shown(self) -> list[int]:
        """Positions in `order` of the sliders in view."""
        first = min(max(0, self.at - SHOWN // 2), max(0, len(self.order) - SHOWN))
        return list(range(first, min(first + SHOWN, len(self.order))))

    def value(self, position: int) -> float:
        """What the dimension at this position is set to."""
        return float(self.latents[0, self.order[position]])

    def move(self, by: int) -> None:
        """Choose another slider."""
        self.at = int(np.clip(self.at + by, 0, len(self.order) - 1))

    def turn(self, by: float) -> None:
        """Change the chosen one."""
        self.set(self.at, self.value(self.at) + by)

    def set(self, position: int, value: float) -> None:
        """Set one to a value."""
        self.at = position
        self.latents[0, self.order[position]] = float(np.clip(value, -LIMIT, LIMIT))

    def frame(self) -> NDArray[np.uint8]:
        """V's picture of these latents, (64, 64, 3)."""
        return self.world.decode(self.latents)[0].cpu().numpy()
