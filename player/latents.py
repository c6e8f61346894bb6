"""The latent editor: one slider per latent dimension, V's decoding of the result, and what the dimensions do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import WEIGHTS
from wm_envs.worlds.config import BundleConfig

LIMIT, STEP = 4.0, 0.25  # range and key step of a value; V's latents are about standard normal
STRIP = (-2.0, -1.0, 0.0, 1.0, 2.0)  # values of the selected dimension in the strip of pictures
# From looking at V's decodings of -2 to +2. Left of the slash: what a low value does; right: a high one.
# The key is the start of the SHA-256 of the weights, so that a world trained again does not get wrong names.
NAMES: dict[str, dict[int, str]] = {
    "29bf2436e47c": {  # takecover-paper
        58: "fireballs: to the right / left",
        36: "fireball on the right: near / none",
        4: "fireballs: further left / right",
        49: "wall on the left: near / far",
        13: "wall on the right: near / far",
        23: "a fireball: small / large",
        60: "fireballs: few / many",
        32: "left side: wall or fireball / free",
        39: "a burst of fire: none / near",
    },
    "d88df1b6d857": {  # takecover: three maps of 16 columns
        first + column: f"{what}, column {column + 1} of 16: {values}"
        for first, what, values in (
            (16, "a far fireball", "yes / no"),
            (32, "a near fireball", "yes / no"),
            (48, "an imp", "no / yes"),
        )
        for column in range(16)
    },
    "decc2926c9e8": {  # carracing
        16: "the road bends: soon / later",
        18: "the road leads to: the right / left",
        15: "road ahead: long / short",
        1: "road: on the left / below the car",
        2: "road: below the car / on the right",
        4: "road: wide and near / gone",
        17: "left turn ahead: yes / no",
        28: "left turn ahead: no / yes",
        8: "end of the road leans: left / right",
        14: "end of the road: near / far",
    },
}
VISIBLE, EVERYWHERE = 12.0, 0.5  # mean change of a pixel (of 255); share of pixels from which it is the whole picture


class Editor:
    """Latents (1, Z) to change one by one, ordered by V's mean variance, lowest first.

    Dimensions of high variance barely change the picture. `names` says what dimensions do, where it is known; the
    others are described by their decodings.
    """

    def __init__(self, world: WorldModel, latents: torch.Tensor, names: Mapping[int, str] | None = None) -> None:
        self.world, self.latents = world, latents.clone()
        self.order: list[int] = world.initial_logvars.mean(dim=0).argsort().tolist()
        self.selected = 0  # position of the selected slider in `order`
        self.names = dict(names or {})
        self._strip: tuple[int, torch.Tensor, list[NDArray[np.uint8]]] | None = None  # dimension, latents, frames

    def shown(self, rows: int) -> list[int]:
        """Positions in `order` of the `rows` sliders in view."""
        rows = max(rows, 1)
        first = min(max(0, self.selected - rows // 2), max(0, len(self.order) - rows))
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

    def fraction(self, position: int) -> float:
        """The value of the dimension at this position as a place on its slider, 0 to 1."""
        return (self.value(position) / LIMIT + 1) / 2

    def slide(self, position: int, fraction: float) -> None:
        """Select the slider at `position` and move it to a place, 0 to 1."""
        self.set(position, LIMIT * (2 * fraction - 1))

    def move(self, by: int) -> None:
        """Move the selection by `by` sliders."""
        self.selected = int(np.clip(self.selected + by, 0, len(self.order) - 1))

    def turn(self, steps: int) -> None:
        """Change the value of the selected slider by so many times STEP."""
        self.set(self.selected, self.value(self.selected) + steps * STEP)

    def set(self, position: int, value: float) -> None:
        """Select the slider at `position` and set its value, clipped to +-LIMIT."""
        self.selected = position
        self.latents[0, self.order[position]] = float(np.clip(value, -LIMIT, LIMIT))

    def frame(self) -> NDArray[np.uint8]:
        """V's decoding of the latents, (64, 64, 3) uint8."""
        return self.world.decode(self.latents)[0].cpu().numpy()

    def strip(self) -> list[NDArray[np.uint8]]:
        """The frames of the selected dimension at the values of STRIP, the others as they are; cached."""
        dimension = self.order[self.selected]
        others = self.latents.clone()
        others[0, dimension] = 0.0
        if self._strip is None or self._strip[0] != dimension or not torch.equal(self._strip[1], others):
            self._strip = dimension, others, self._decode(dimension)
        return self._strip[2]

    def _decode(self, dimension: int) -> list[NDArray[np.uint8]]:
        latents = self.latents.repeat(len(STRIP), 1)
        latents[:, dimension] = torch.tensor(STRIP)
        return list(self.world.decode(latents).cpu().numpy())


def known_names(bundle: BundleConfig) -> dict[int, str]:
    """The names for the world with this config.json, by dimension; {} if they are not known."""
    return NAMES.get(bundle["files"][WEIGHTS]["sha256"][:12], {}) if WEIGHTS in bundle["files"] else {}


def describe(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> str:
    """What changes between the frames (64, 64, 3) of a low and a high value of one dimension, and where."""
    change = np.abs(high.astype(int) - low.astype(int)).mean(axis=-1)
    changed = change > VISIBLE
    if changed.mean() < 0.002:
        return "changes hardly anything"
    if changed.mean() > EVERYWHERE:
        return "changes the whole picture"
    rows, columns = np.nonzero(changed)
    across = ("left", "middle", "right")[min(int(np.median(columns)) * 3 // low.shape[1], 2)]
    down = ("top", "centre", "bottom")[min(int(np.median(rows)) * 3 // low.shape[0], 2)]
    where = {"centre": f"the {across}", "top": f"the top {across}", "bottom": f"the bottom {across}"}[down]
    brighter = high[changed].mean() - low[changed].mean()
    how = ": dark / bright" if brighter > VISIBLE else ": bright / dark" if brighter < -VISIBLE else ""
    return f"changes {where}{how}"
