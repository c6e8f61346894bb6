"""The latent editor: one slider per latent dimension, and V's decoding of the result."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from wm_envs.models.world_model import WorldModel

LIMIT, STEP = 4.0, 0.25  # range and key step of a value; V's latents are about standard normal
SHOWN = 16  # sliders in view


class Editor:
    """Latents (1, Z) to change one by one, ordered by V's mean variance, lowest first.

    Dimensions of high variance barely change the picture.
    """

    def __init__(self, world: WorldModel, latents: torch.Tensor) -> None:
        self.world, self.latents = world, latents.clone()
        self.order: list[int] = world.initial_logvars.mean(dim=0).argsort().tolist()
        self.at = 0  # position of the selected slider in `order`

    @property
    def shown(self) -> list[int]:
        """Positions in `order` of the sliders in view."""
        first = min(max(0, self.at - SHOWN // 2), max(0, len(self.order) - SHOWN))
        return list(range(first, min(first + SHOWN, len(self.order))))

    def value(self, position: int) -> float:
        """The value of the dimension at this position."""
        return float(self.latents[0, self.order[position]])

    def move(self, by: int) -> None:
        """Move the selection by `by` sliders."""
        self.at = int(np.clip(self.at + by, 0, len(self.order) - 1))

    def turn(self, by: float) -> None:
        """Change the value of the selected slider."""
        self.set(self.at, self.value(self.at) + by)

    def set(self, position: int, value: float) -> None:
        """Select the slider at `position` and set its value, clipped to +-LIMIT."""
        self.at = position
        self.latents[0, self.order[position]] = float(np.clip(value, -LIMIT, LIMIT))

    def frame(self) -> NDArray[np.uint8]:
        """V's decoding of the latents, (64, 64, 3) uint8."""
        return self.world.decode(self.latents)[0].cpu().numpy()
