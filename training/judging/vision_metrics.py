"""How well V draws held-out frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.latent_cache import encode_frames
from wm_envs.models.vision.base import Vision
from wm_envs.models.vision.loss import active_latents, kl_per_dimension

MOVED = 0.1  # a pixel moves when a channel changes by more than this in FrameBlocks.lag ticks


@dataclass(frozen=True, kw_only=True)
class VisionMetrics:
    """V on held-out frames. Errors are sums of squares over a frame, in [0, 1] for each value."""

    error: float
    moving_error: float  # on moving pixels only
    moving_error_per_pixel: float
    unexplained: float  # `error` over that of the mean frame: with 1, V draws only the mean frame
    moving_unexplained: float  # the same on moving pixels
    kl: float  # nats
    active: int  # latent dimensions in use
    encoder_loss: float | None = None  # of a VAE-GAN, in the last step
    decoder_loss: float | None = None
    discriminator_loss: float | None = None


@torch.no_grad()
def reconstruct(vision: Vision, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Frames (N, 64, 64, 3) through V's mean latents and back, (N, 64, 64, 3) float32 in [0, 1]."""
    device = next(vision.parameters()).device
    mean, _ = encode_frames(vision, frames)
    images = torch.cat([vision.decode(part.to(device)) for part in mean.split(256)])
    return images.permute(0, 2, 3, 1).float().cpu().numpy()


def measure(vision: Vision, frames: NDArray[np.uint8], neighbours: NDArray[np.uint8]) -> VisionMetrics:
    """The metrics of V on frames (N, 64, 64, 3), with the frames a moment before or after as `neighbours`."""
    mean, logvar = encode_frames(vision, frames)
    real = frames.astype(np.float32) / 255
    squared = ((reconstruct(vision, frames) - real) ** 2).sum(-1)  # (N, 64, 64)
    moved = (np.abs(neighbours.astype(np.float32) / 255 - real) > MOVED).any(-1)
    of_mean = ((real - real.mean(0)) ** 2).sum(-1)
    return VisionMetrics(
        error=float(squared.sum((1, 2)).mean()),
        moving_error=float(squared[moved].sum() / len(frames)),
        moving_error_per_pixel=float(squared[moved].mean()) if moved.any() else 0.0,
        unexplained=float(squared.sum() / max(of_mean.sum(), 1e-9)),
        moving_unexplained=float(squared[moved].sum() / max(of_mean[moved].sum(), 1e-9)),
        kl=float(kl_per_dimension(mean, logvar).mean(0).sum()),
        active=len(active_latents(mean, logvar)),
    )
