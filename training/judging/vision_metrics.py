"""How well V draws held-out frames."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.latent_cache import encode_frames
from wm_envs.models.vision.base import Vision
from wm_envs.models.vision.loss import ACTIVE, kl_per_dimension

MOVED = 0.1  # a pixel moves when a channel changes by more than this in FrameBlocks.lag ticks


@torch.no_grad()
def reconstruct(vision: Vision, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Frames (N, 64, 64, 3) through V's mean latents and back, (N, 64, 64, 3) float32 in [0, 1]."""
    device = next(vision.parameters()).device
    mean, _ = encode_frames(vision, frames)
    images = torch.cat([vision.decode(part.to(device)) for part in mean.split(256)])
    return images.permute(0, 2, 3, 1).float().cpu().numpy()


def measure(vision: Vision, frames: NDArray[np.uint8], neighbours: NDArray[np.uint8]) -> dict[str, float]:
    """Held-out figures: squared error a frame, the same on moving pixels only, KL, active dimensions.

    `unexplained` and `moving_unexplained` are these errors as shares of those of the mean picture: with 1, V draws
    only that.
    """
    mean, logvar = encode_frames(vision, frames)
    kl = kl_per_dimension(mean, logvar).mean(0)
    real = frames.astype(np.float32) / 255
    squared = ((reconstruct(vision, frames) - real) ** 2).sum(-1)  # (N, 64, 64)
    moved = (np.abs(neighbours.astype(np.float32) / 255 - real) > MOVED).any(-1)
    of_mean = ((real - real.mean(0)) ** 2).sum(-1)
    return {
        "error": float(squared.sum((1, 2)).mean()),
        "moving_error": float(squared[moved].sum() / len(frames)),
        "moving_error_per_pixel": float(squared[moved].mean()) if moved.any() else 0.0,
        "unexplained": float(squared.sum() / max(of_mean.sum(), 1e-9)),
        "moving_unexplained": float(squared[moved].sum() / max(of_mean[moved].sum(), 1e-9)),
        "kl": float(kl.sum()),
        "active": int((kl > ACTIVE).sum()),
    }
