"""What the latent dimensions do: names for the shipped worlds, and a description of any other by its decodings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Found by looking at V's decodings of -2 to +2. Left of the slash: what a low value does; right: a high one.
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


def known_names(bundle: dict[str, Any], weights: str = "world.safetensors") -> dict[int, str]:
    """The names for the world with this config.json, by dimension; {} if they are not known."""
    file = bundle["files"].get(weights)
    digest = file.get("sha256") if isinstance(file, dict) else None
    return NAMES.get(str(digest)[:12], {})


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
