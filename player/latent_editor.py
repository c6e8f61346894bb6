"""The latent editor: one slider per latent dimension, and V's decoding of the result."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from player.latent_names import describe
from wm_envs.models.world_model import WorldModel

LIMIT, STEP = 4.0, 0.25  # range and key step of a value; V's latents are about standard normal
STRIP = (-2.0, -1.0, 0.0, 1.0, 2.0)  # values of the selected dimension in the strip of pictures


class Editor:
    """Latents (1, Z) to change one by one, ordered by V's mean variance, lowest first.

    Dimensions of high variance barely change the picture. `names` says what dimensions do, where it is known; the
    others are described by their decodings.
    """

    def __init__(self, world: WorldModel, latents: torch.Tensor, names: Mapping[int, str] | None = None) -> None:
        self.world, self.latents = world, latents.clone()
        self.order: list[int] = world.initial_logvars.mean(dim=0).argsort().tolist()
        self.at = 0  # position of the selected slider in `order`
        self.names = dict(names or {})
        self._strip: tuple[int, torch.Tensor, list[NDArray[np.uint8]]] | None = None  # dimension, latents, frames

    def shown(self, rows: int) -> list[int]:
        """Positions in `order` of the `rows` sliders in view."""
        rows = max(rows, 1)
        first = min(max(0, self.at - rows // 2), max(0, len(self.order) - rows))
        return list(range(first, min(first + rows, len(self.order))))

    def name(self, position: int) -> str:
        """What the dimension at this position does."""
        dimension = self.order[position]
        if dimension not in self.names:
            low, _, _, _, high = self._decode(dimension)
            self.names[dimension] = describe(low, high)
        return self.names[dimension]

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

    def strip(self) -> list[NDArray[np.uint8]]:
        """The frames of the selected dimension at the values of STRIP, the others as they are; cached."""
        dimension = self.order[self.at]
        others = self.latents.clone()
        others[0, dimension] = 0.0
        if self._strip is None or self._strip[0] != dimension or not torch.equal(self._strip[1], others):
            self._strip = dimension, others, self._decode(dimension)
        return self._strip[2]

    def _decode(self, dimension: int) -> list[NDArray[np.uint8]]:
        latents = self.latents.repeat(len(STRIP), 1)
        latents[:, dimension] = torch.tensor(STRIP)
        return list(self.world.decode(latents).cpu().numpy())
