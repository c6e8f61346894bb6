"""Train V on the stored frames, with a higher weight for moving pixels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.episode_store import Part, RolloutStore
from training.data.frame_batches import FrameBlocks
from training.data.latent_cache import on_best_device
from training.infra.checkpoint import load_checkpoint, save_checkpoint, start_from
from training.infra.option_groups import ModelRoundOptions, SeedOption, TaskOption
from training.infra.options import check_options, check_run_options, stage_option
from training.infra.progress import Progress
from training.infra.records import to_json, write_result
from training.infra.run_folder import RoundFolder, RunFolder
from training.judging.vision_metrics import VisionMetrics, measure, reconstruct
from training.learning.adversary import BETAS, Adversary
from training.learning.optim import clip_gradients, generator, one_cycle, total_loss
from training.reporting.pictures import save_pairs
from wm_envs.errors import InvalidOption
from wm_envs.files import file_lock
from wm_envs.games.registry import get_task
from wm_envs.hardware import autocast, best_device
from wm_envs.models.vision.base import Vision, to_images
from wm_envs.models.vision.loss import CALIBRATED, SQUARED, error_weight, motion_weight, object_weight
from wm_envs.models.vision.registry import vision_kinds

VAE_GAN = "vae-gan"  # a kind of training; the V that it makes is the paper's
COOLED = 0.03  # factor of a calibrated error at the end: V has found what to code, and codes too many of its details
COLLAPSED = 4  # active dimensions below which V is collapsing


@dataclass
class VisionOptions(TaskOption, SeedOption, ModelRoundOptions):
    """Train V on the rollouts of the run; the result is V of the round."""

    rounds: int = stage_option(0, "number of rounds of play to learn from (0: all)", identity=True, minimum=0)
    latent: int = stage_option(0, "Z, latent dimensions (0: the paper's for this game)", identity=True, minimum=0)
    kind: str = stage_option(
        "conv-vae", "the paper's V, one of what differs from the mean picture, one with latents of columns, or the "
        "paper's with a discriminator's features as its error", identity=True, choices=(*vision_kinds(), VAE_GAN),
    )  # fmt: skip
    batches: int = stage_option(10_000, "training batches", identity=True, minimum=1)
    batch_size: int = stage_option(128, "frames in a batch", identity=True, minimum=1)
    learning_rate: float = stage_option(
        1.5e-3, "highest rate of the one-cycle schedule", identity=True, exclusive_minimum=0
    )
    motion: float = stage_option(
        20.0, "extra weight of moving pixels (0: the paper's loss; a VAE-GAN has none)", identity=True, minimum=0
    )
    objects: float = stage_option(
        0.0, "extra weight of the pixels of objects, which `collect --objects` records", identity=True, minimum=0
    )
    focus: float = stage_option(
        0.0, "extra weight of pixels that V gets wrong (0: the paper's loss)", identity=True, minimum=0
    )
    kl_floor: float = stage_option(0.0, "nats that V may use freely (0: the paper's, Z/2)", identity=True, minimum=0)
    error: str = stage_option(
        SQUARED, "squared (the paper's), or calibrated: it weighs more the smaller it gets, so small things count",
        identity=True, choices=(SQUARED, CALIBRATED),
    )  # fmt: skip
    scale: float = stage_option(
        1.0, "factor of the squared error against the KL (the paper: 1)", identity=True, exclusive_minimum=0
    )
    gamma: float = stage_option(
        0.01, "weight of the decoder's error against the discriminator's verdict, for --kind vae-gan", identity=True,
        exclusive_minimum=0,
    )  # fmt: skip
    start: str = stage_option(
        "", "weights to start from: the checkpoint of a V, or a world", identity=True, path=True
    )  # fmt: skip
    checkpoint_every: int = stage_option(500, "batches between checkpoints", minimum=1)

    def check(self) -> None:
        """Raises `InvalidOption` for weights of pixels with a VAE-GAN, whose error is not one of pixels."""
        super().check()
        for name in ("objects", "focus"):
            if self.kind == VAE_GAN and getattr(self, name):
                raise InvalidOption(name, getattr(self, name), f"0 with --kind {VAE_GAN}", "omit it")


def main(options: VisionOptions) -> VisionMetrics:
    """Train V, or continue its training, and measure it on held-out frames."""
    check_options(options)
    RunFolder(options.run).check_round(options.round)
    run = RunFolder(options.run)
    options = dataclasses.replace(options, latent=options.latent or get_task(options.task).latent)
    store = RolloutStore(run.rollouts, options.task, options.rounds)
    folder = run.round(options.round)
    with file_lock(folder.vision), check_run_options(folder.vision_options, options):
        return _train(folder, store, options)


def _train(folder: RoundFolder, store: RolloutStore, options: VisionOptions) -> VisionMetrics:
    training, held_out = store.split()
    training = _with_objects(training, store, options)
    torch.manual_seed(options.seed)
    config, network = vision_kinds()["conv-vae" if options.kind == VAE_GAN else options.kind]
    vision = on_best_device(network(config(options.latent)))
    optimizer = torch.optim.Adam(vision.parameters(), options.learning_rate, fused=True)
    adversary = _adversary(vision, optimizer, options)
    path, step = folder.vision, 0
    if path.exists():
        step, extra_state = load_checkpoint(path, vision, optimizer)
        if adversary:
            adversary.restore(path, extra_state)
    elif options.start:
        start_from(options.start, vision)
    else:
        vision.prepare(_images(FrameBlocks(training, options.seed).read(0)[0]))
    probe = FrameBlocks(held_out, seed=1, chunks=128).read(0)
    metrics: VisionMetrics | None = None
    with Progress("vision", options.batches, folder.logs, "batches") as progress:
        progress.skip(step)
        for batch in _batches(training, options, step):
            if step >= options.batches:
                break
            rate, draw = one_cycle(step / options.batches, options.learning_rate), generator(options.seed, step)
            for group in optimizer.param_groups + (adversary.optimizer.param_groups if adversary else []):
                group["lr"] = rate
            if adversary:
                adversary.train_batch(_images(batch[0]), optimizer, draw)
            else:
                _train_batch(vision, optimizer, batch, draw, options, step / options.batches)
            step += 1
            progress.update(1)
            if step % options.checkpoint_every == 0 or step == options.batches:
                save_checkpoint(path, vision, optimizer, step, adversary.state if adversary else None)
                losses: dict[str, Any] = adversary.losses if adversary else {}
                metrics = dataclasses.replace(measure(vision, *probe), **losses)
                progress.log(step, to_json(metrics))
                save_pairs(folder.vision_picture, probe[0][:24], reconstruct(vision, probe[0][:24]))
                if metrics.active < min(COLLAPSED, options.latent):
                    progress.bar.write(f"warning: V is collapsing: {metrics.active} active dimensions")
    metrics = metrics or measure(vision, *probe)
    write_result(folder.vision_metrics, metrics)
    return metrics


def _images(frames: NDArray[np.uint8]) -> torch.Tensor:
    return to_images(torch.from_numpy(frames).to(best_device()))


def _adversary(vision: Any, optimizer: torch.optim.Adam, options: VisionOptions) -> Adversary | None:
    """The discriminator of a VAE-GAN; the paper's V has none."""
    if options.kind != VAE_GAN:
        return None
    for group in optimizer.param_groups:
        group["betas"] = BETAS
    return Adversary(vision, options.gamma, options.scale, options.kl_floor or None, options.learning_rate)


def _with_objects(parts: list[Part], store: RolloutStore, options: VisionOptions) -> list[Part]:
    """The parts to train on: with --objects, those that have recorded them."""
    if options.objects == 0:
        return parts
    found = [part for part in parts if part.has_objects]
    if not found:
        raise InvalidOption(
            "objects", options.objects, f"parts with objects in {store.folder}",
            "record some with `python -m training collect --objects`",
        )  # fmt: skip
    return found


def _batches(parts: list[Any], options: VisionOptions, first: int) -> Any:
    """Batches first, first+1, ... of the shuffled stream, which is the same every time."""
    blocks = FrameBlocks(parts, options.seed, objects=options.objects > 0)
    size = options.batch_size
    a_block = max(1, blocks.block_size // size)
    skip = first % a_block
    for block in blocks.stream(first // a_block):
        for index in range(skip, a_block):
            at = slice(index * size, (index + 1) * size)
            yield tuple(part[at] for part in block)
        skip = 0


def _train_batch(
    vision: Vision, optimizer: Any, batch: tuple[NDArray[Any], ...], draw: torch.Generator, options: VisionOptions,
    progress: float,
) -> None:  # fmt: skip
    device = next(vision.parameters()).device
    frames, neighbours, *objects = (torch.from_numpy(part).to(device) for part in batch)
    images = to_images(frames)
    noise = torch.randn(len(images), vision.config.latent, generator=draw).to(device)
    with autocast(device):
        reconstruction, mean, logvar = vision(images, noise)
    weight = torch.ones(len(images), 1, 64, 64, device=device)
    if options.motion > 0:
        weight = weight * motion_weight(images, to_images(neighbours), options.motion)
    if options.focus > 0:
        weight = weight * error_weight(images, reconstruction, options.focus)
    if objects:
        of_kinds = torch.tensor(list(get_task(options.task).objects.values()), device=device)
        weight = weight * object_weight(objects[0], options.objects * of_kinds)
    floor = options.kl_floor or None
    scale = options.scale * (COOLED ** max(0.0, 2 * progress - 1) if options.error == CALIBRATED else 1)
    loss = total_loss(vision.loss(images, reconstruction, mean, logvar, weight, floor, scale, options.error))
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(vision, 200.0)
    optimizer.step()
