"""Pictures for checking a stage by eye."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wm_envs.files import write_bytes


def to_bytes(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pictures in [0, 1] as bytes."""
    return np.round(pictures * 255).astype(np.uint8)


def strip(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (N, height, 64, 3) side by side, (height, 64 * N, 3)."""
    return np.concatenate(list(frames), axis=1)


def save_pairs(path: Path, real: NDArray[np.uint8], made: NDArray[np.float32], columns: int = 8) -> None:
    """Write a PNG of real frames (N, 64, 64, 3) uint8, each above V's version (float in [0, 1]), at twice the size."""
    pairs = np.concatenate([real, to_bytes(made)], axis=1)  # (N, 128, 64, 3)
    rows = [strip(pairs[at : at + columns]) for at in range(0, len(pairs), columns)]
    _save(path, np.concatenate([row for row in rows if row.shape == rows[0].shape]))


def save_strip(path: Path, frames: NDArray[np.uint8]) -> None:
    """Write a PNG of frames (N, 64, 64, 3) side by side, at twice the size."""
    _save(path, strip(frames))


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image  # of the extra 'train', which --help does not need

    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
