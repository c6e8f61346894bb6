"""Stage 2, vision: train V on the store, streamed, with what moves weighed more."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.episode_store import RolloutStore
from training.data.frame_batches import FrameBlocks
from training.data.latent_cache import encode_frames
from training.evaluation.pictures import save_pairs
from training.infra.checkpoint import load_checkpoint, save_checkpoint, start_from
from training.infra.optim import clip_gradients, generator, one_cycle, total_loss
from training.infra.options import check_run_options, count, not_negative, positive, stage_option
from training.infra.progress import Progress
from wm_envs.files import file_lock, write_text
from wm_envs.games.registry import get_task
from wm_envs.hardware import best_device, compute_dtype
from wm_envs.models.vae import ConvVAE, ConvVAEConfig, kl_per_dimension, motion_weight, to_images, vae_loss

MOVED = 0.1  # a pixel moves when a channel changes by more than this in FrameBlocks.lag ticks
ACTIVE = 0.05  # nats of KL from which a latent dimension counts as active
COLLAPSED = 4  # active dimensions below which V is collapsing


@dataclass
class VisionOptions:
    """Train V on RUN/rollouts; the result is RUN/vision.safetensors."""

    run: Path = stage_option("runs/takecover", "run folder")
    task: str = stage_option("takecover", "which game")
    store: str = stage_option("", "folder of the rollouts (default: RUN/rollouts)")
    rounds: int = stage_option(0, "rounds of play to learn from, from the first on (0: all that are there)", True)
    latent: int = stage_option(0, "Z, latent dimensions (0: the paper's for this game)", True)
    batches: int = stage_option(10_000, "training batches", True)
    batch_size: int = stage_option(128, "frames in a batch", True)
    learning_rate: float = stage_option(1.5e-3, "peak of the one-cycle schedule", True)
    motion: float = stage_option(20.0, "how much more what moves weighs (0: the paper's loss)", True)
    start: str = stage_option("", "weights to go on from: a vision.safetensors, or a world", True, path=True)
    seed: int = stage_option(0, "of the weights, the order of frames and the noise", True)
    checkpoint_every: int = stage_option(500, "batches between checkpoints")


def main(options: VisionOptions) -> dict[str, Any]:
    """Train, or go on training, and measure V on held-out frames."""
    for name in ("batches", "batch_size", "checkpoint_every"):
        count(name, getattr(options, name))
    count("latent", options.latent, 0)
    positive("learning_rate", options.learning_rate)
    not_negative("motion", options.motion)
    for name in ("rounds", "seed"):
        count(name, getattr(options, name), 0)
    run, task = Path(options.run), get_task(options.task)
    options = dataclasses.replace(options, latent=options.latent or task.latent)
    store = RolloutStore(Path(options.store) if options.store else run / "rollouts", options.task, options.rounds)
    with file_lock(run / "vision"), check_run_options(run / "vision.json", options):
        return _train(run, store, options)


def _train(run: Path, store: RolloutStore, options: VisionOptions) -> dict[str, float]:
    training, held_out = store.split()
    device = best_device()
    torch.manual_seed(options.seed)
    vision = ConvVAE(ConvVAEConfig(options.latent)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(vision.parameters(), options.learning_rate, fused=True)
    path, step = run / "vision.safetensors", 0
    if path.exists():
        step, _ = load_checkpoint(path, vision, optimizer)
    elif options.start:
        start_from(options.start, vision)
    probe = FrameBlocks(held_out, seed=1, chunks=128).read(0)
    metrics: dict[str, float] = {}
    with Progress("vision", options.batches, run, "batches") as progress:
        progress.skip(step)
        for frames, neighbours in _batches(training, options, step):
            if step >= options.batches:
                break
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(step / options.batches, options.learning_rate)
            _train_batch(vision, optimizer, frames, neighbours, generator(options.seed, step), options.motion)
            step += 1
            progress.update(1)
            if step % options.checkpoint_every == 0 or step == options.batches:
                save_checkpoint(path, vision, optimizer, step)
                metrics = measure(vision, *probe)
                progress.log(step, metrics)
                save_pairs(run / "pictures" / "vision.png", probe[0][:24], reconstruct(vision, probe[0][:24]))
                if metrics["active"] < min(COLLAPSED, options.latent):
                    progress.bar.write(f"warning: V is collapsing: {metrics['active']:.0f} active dimensions")
    metrics = metrics or measure(vision, *probe)
    write_text(run / "vision_metrics.json", json.dumps(metrics))
    return metrics


def _batches(parts: list[Any], options: VisionOptions, first: int) -> Any:
    """Batches first, first+1, ... of the shuffled stream; the same ones whenever it is started."""
    blocks = FrameBlocks(parts, options.seed)
    size = options.batch_size
    a_block = max(1, blocks.block_size // size)
    skip = first % a_block
    for frames, neighbours in blocks.stream(first // a_block):
        for index in range(skip, a_block):
            at = slice(index * size, (index + 1) * size)
            yield frames[at], neighbours[at]
        skip = 0


def _train_batch(
    vision: ConvVAE, optimizer: Any, frames: NDArray[np.uint8], neighbours: NDArray[np.uint8],
    draw: torch.Generator, motion: float,
) -> None:  # fmt: skip
    device = next(vision.parameters()).device
    images = to_images(torch.from_numpy(frames).to(device))
    weight = None
    if motion > 0:
        weight = motion_weight(images, to_images(torch.from_numpy(neighbours).to(device)), motion)
    noise = torch.randn(len(images), vision.config.latent, generator=draw).to(device)
    dtype = compute_dtype(device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        reconstruction, mean, logvar = vision(images, noise)
    loss = total_loss(vae_loss(images, reconstruction, mean, logvar, weight))
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(vision, 200.0)
    optimizer.step()


@torch.no_grad()
def reconstruct(vision: ConvVAE, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Frames (N, 64, 64, 3) through V's mean latents and back, (N, 64, 64, 3) float32 in [0, 1]."""
    device = next(vision.parameters()).device
    mean, _ = encode_frames(vision, frames)
    images = torch.cat([vision.decode(part.to(device)) for part in mean.split(256)])
    return images.permute(0, 2, 3, 1).float().cpu().numpy()


def measure(vision: ConvVAE, frames: NDArray[np.uint8], neighbours: NDArray[np.uint8]) -> dict[str, float]:
    """Held-out figures: squared error a frame, the same on moving pixels only, KL, active dimensions."""
    mean, logvar = encode_frames(vision, frames)
    kl = kl_per_dimension(mean, logvar).mean(0)
    real = frames.astype(np.float32) / 255
    squared = ((reconstruct(vision, frames) - real) ** 2).sum(-1)  # (N, 64, 64)
    moved = (np.abs(neighbours.astype(np.float32) / 255 - real) > MOVED).any(-1)
    return {
        "error": float(squared.sum((1, 2)).mean()),
        "moving_error": float(squared[moved].sum() / len(frames)),
        "moving_error_per_pixel": float(squared[moved].mean()) if moved.any() else 0.0,
        "kl": float(kl.sum()),
        "active": int((kl > ACTIVE).sum()),
    }
