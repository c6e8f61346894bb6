"""V's latents of a store, encoded once and cached under a hash of V's weights."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.episode_store import Part, read_part
from training.infra.checkpoint import read_tensors, read_vision, save_tensors
from training.infra.pool import Workers, run_jobs
from training.infra.progress import Progress
from wm_envs.errors import BrokenStore
from wm_envs.hardware import autocast, best_device
from wm_envs.models.vision.base import Vision, to_images


@dataclass(frozen=True)
class EncodeJob:
    """One part to encode; the result depends on nothing else."""

    weights: Path  # a checkpoint of V
    part: Path
    to: Path  # file of the latents
    identity: str  # `weights_hash` of V


def on_best_device(vision: Vision) -> Vision:
    """V on the best device, in the memory order that is fastest for convolutions."""
    order: dict[str, Any] = {"memory_format": torch.channels_last}
    return vision.to(best_device(), **order)


def load_vision(weights: Path) -> Vision:
    """V from a checkpoint, ready to encode."""
    return on_best_device(read_vision(weights)).eval()


@functools.lru_cache(maxsize=1)
def _vision(weights: Path, identity: str) -> Vision:
    return load_vision(weights)  # `identity` is in the cache key: the file may hold another V later


def encode_part(job: EncodeJob) -> None:
    """Write V's means and log variances of one part, (N, Z) float16 each, to `job.to`."""
    vision, part = _vision(job.weights, job.identity), read_part(job.part)
    blocks = [encode_frames(vision, part.read(at, min(at + 4096, part.size))) for at in range(0, part.size, 4096)]
    means, logvars = (torch.cat([block[i] for block in blocks]).half() for i in (0, 1))
    save_tensors(job.to, {"means": means, "logvars": logvars}, {"vision": job.identity})


def encode_store(
    vision: Vision, weights: Path, parts: list[Part], folder: Path, logs: Path, workers: Workers
) -> list[tuple[Tensor, Tensor]]:
    """V's (means, logvars) of every part, (N, Z) float16 each, cached below `folder`.

    `weights` is the checkpoint of `vision`, from which worker processes load it.
    """
    identity = weights_hash(vision)
    folder = folder / identity[:16]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{part.index:05d}.safetensors" for part in parts]
    shapes = [(part.size, vision.config.latent) for part in parts]
    encoded = [cached_latents(path, identity, shape) for path, shape in zip(paths, shapes, strict=True)]
    jobs = [
        EncodeJob(weights, part.path, path, identity)
        for part, path, latents in zip(parts, paths, encoded, strict=True)
        if latents is None
    ]
    sizes = {path: part.size for path, part in zip(paths, parts, strict=True)}
    with Progress("encode", sum(sizes.values()), logs, "frames") as progress:
        progress.skip(sum(sizes.values()) - sum(sizes[job.to] for job in jobs))
        for job, _ in run_jobs(encode_part, jobs, workers):
            progress.update(sizes[job.to])
    made = {job.to for job in jobs}
    read = zip(paths, shapes, encoded, strict=True)
    return [cached_latents(path, identity, shape) if path in made else latents for path, shape, latents in read]  # type: ignore[misc]


def cached_latents(path: Path, identity: str, shape: tuple[int, int]) -> tuple[Tensor, Tensor] | None:
    """Cached means and log variances, of `shape` in float16, from the V with this `identity`.

    None if they are missing or damaged; they are then encoded again.
    """
    if not path.exists():
        return None
    try:
        tensors, header = read_tensors(path)
    except BrokenStore:
        return None
    found = tensors.get("means"), tensors.get("logvars")
    valid = all(
        value is not None and value.dtype == torch.float16 and value.shape == shape and bool(value.isfinite().all())
        for value in found
    )
    return found if valid and header.get("vision") == identity else None  # type: ignore[return-value]


def weights_hash(model: torch.nn.Module) -> str:
    """SHA-256 over all weights of a model; it identifies the V that a latent comes from."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def encode_frames(vision: Vision, frames: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Mean and log variance, (N, Z) float32 each, of frames (N, 64, 64, 3) uint8, in batches of 256."""
    device = next(vision.parameters()).device
    means, logvars = [], []
    with autocast(device):
        for at in range(0, len(frames), 256):
            mean, logvar = vision.encode(to_images(torch.from_numpy(frames[at : at + 256]).to(device)))
            means.append(mean.float().cpu())
            logvars.append(logvar.float().cpu())
    return torch.cat(means), torch.cat(logvars)
