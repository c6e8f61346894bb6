"""Train V on the stored frames, with a higher weight for moving pixels."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, SerializeAsAny

from training.config.base import FLAT, MAY_CHANGE, Config, Count, NotNegative, Positive
from training.config.commands import ModelRound
from training.config.kinds import by_kind, choose, config_of_kind, narrowed, network_fields
from training.config.records import recorded
from training.data.episode_store import Part, RolloutStore
from training.data.frame_batches import FrameBlocks
from training.data.latent_cache import on_best_device
from training.infra.checkpoint import load_checkpoint, save_checkpoint, start_from
from training.infra.progress import Progress
from training.infra.records import to_json, write_result
from training.infra.run_folder import RoundFolder
from training.judging.vision_metrics import VisionMetrics, measure, reconstruct
from training.learning.adversary import BETAS, Adversary
from training.learning.optim import clip_gradients, generator, one_cycle, total_loss
from training.reporting.pictures import save_pairs
from wm_envs.errors import InvalidOption
from wm_envs.games.base import Task
from wm_envs.hardware import autocast, best_device
from wm_envs.models.kinds import Kind
from wm_envs.models.vision.base import Vision, to_images
from wm_envs.models.vision.loss import CALIBRATED, error_weight, motion_weight, object_weight
from wm_envs.models.vision.registry import vision_kinds

COOLED = 0.03  # factor of a calibrated error at the end: V has found what to code, and codes too many of its details
COLLAPSED = 4  # active dimensions below which V is collapsing


class VisionConfig(Config):
    """How V is trained."""

    kind: str = Field("conv-vae", description=f"{', '.join(vision_kinds())}, vae-gan; --kind NAME --help: its options")
    latent: Count | Literal["paper"] = Field(
        "paper", description="Z, latent dimensions; paper: as the paper has for this game, or as the kind needs"
    )
    batches: Count = Field(10_000, description="training batches")
    batch_size: Count = Field(128, description="frames in a batch")
    learning_rate: Positive = Field(1.5e-3, description="highest rate of the one-cycle schedule")
    kl_floor: Positive | Literal["paper"] = Field(
        "paper", description="nats that V may use freely; paper: Z/2, the paper's"
    )
    scale: Positive = Field(1.0, description="factor of the squared error against the KL (the paper: 1)")
    checkpoint_every: Annotated[Count, MAY_CHANGE] = Field(500, description="batches between checkpoints")

    @property
    def free_nats(self) -> float | None:
        """The floor of the KL in nats; None: the paper's."""
        return None if self.kl_floor == "paper" else self.kl_floor


class PixelVision(VisionConfig):
    """How a V is trained on the error of its pixels."""

    error: Literal["squared", "calibrated"] = Field(
        "squared", description="squared: the paper's; calibrated: Gaussian likelihood with learned variance (sigma-VAE)"
    )
    motion: NotNegative = Field(20.0, description="extra weight of moving pixels (the paper: 0)")
    objects: NotNegative = Field(
        0.0, description="extra weight of the pixels of objects, which `collect --objects` records"
    )
    focus: NotNegative = Field(0.0, description="extra weight of pixels that V gets wrong (the paper: 0)")


class VaeGan(VisionConfig):
    """How the paper's V is trained on the features of a discriminator."""

    gamma: Positive = Field(0.01, description="weight of the decoder's error against the discriminator's verdict")


def kinds() -> dict[str, type[VisionConfig]]:
    """Every --kind, and its options."""
    found: dict[str, type[VisionConfig]] = {
        name: config_of_kind(PixelVision, name, kind.config) for name, kind in vision_kinds().items()
    }
    return found | {"vae-gan": config_of_kind(VaeGan, "vae-gan", vision_kinds()["conv-vae"].config)}


AnyVision = Annotated[SerializeAsAny[VisionConfig], BeforeValidator(partial(by_kind, kinds))]


def of_kind(kind: str, **values: Any) -> VisionConfig:
    """The configuration of a kind; raises `InvalidOption` for one that does not exist, and for wrong values."""
    return choose(kinds(), kind)(**values)


class Command(ModelRound):
    """Train V on the rollouts of the run; the result is V of the round."""

    config: Annotated[AnyVision, FLAT] = of_kind("conv-vae")

    @classmethod
    def defaults(cls, words: list[str]) -> Self:
        """Those of the kind that the words choose."""
        return cls(config=narrowed(of_kind("conv-vae"), kinds(), words, "kind"))


def main(command: Command) -> VisionMetrics:
    """Train V, or continue its training, and measure it on held-out frames."""
    folder, task = command.folder, command.game
    command = command.replace(config=complete(command.config, task))
    store = RolloutStore(folder.run.rollouts, task.name, command.rounds_of_play)
    with recorded(folder.vision_options, command):
        return _train(folder, store, task, command.config, command.seed, command.start)


def _train(
    folder: RoundFolder, store: RolloutStore, task: Task, config: VisionConfig, seed: int, start: str
) -> VisionMetrics:
    training, held_out = store.split()
    if isinstance(config, PixelVision) and config.objects:
        training = _with_objects(training, store)
    torch.manual_seed(seed)
    vision = build(config)
    optimizer = torch.optim.Adam(vision.parameters(), config.learning_rate, fused=True)
    adversary = _adversary(vision, optimizer, config) if isinstance(config, VaeGan) else None
    path, step = folder.vision, 0
    if path.exists():
        step, extra_state = load_checkpoint(path, vision, optimizer)
        if adversary:
            adversary.restore(path, extra_state)
    elif start:
        start_from(start, vision)
    else:
        vision.prepare(_images(FrameBlocks(training, seed).read(0)[0]))
    probe = FrameBlocks(held_out, seed=1, chunks=128).read(0)
    metrics: VisionMetrics | None = None
    with Progress("vision", config.batches, folder.logs, "batches") as progress:
        progress.skip(step)
        for batch in _batches(training, config, seed, step):
            if step >= config.batches:
                break
            rate, draw = one_cycle(step / config.batches, config.learning_rate), generator(seed, step)
            for group in optimizer.param_groups + (adversary.optimizer.param_groups if adversary else []):
                group["lr"] = rate
            if adversary:
                adversary.train_batch(_images(batch[0]), optimizer, draw)
            else:
                assert isinstance(config, PixelVision)
                train_batch(vision, optimizer, batch, draw, config, step / config.batches, list(task.objects.values()))
            step += 1
            progress.update(1)
            if step % config.checkpoint_every == 0 or step == config.batches:
                save_checkpoint(path, vision, optimizer, step, adversary.state if adversary else None)
                losses: dict[str, Any] = adversary.losses if adversary else {}
                metrics = dataclasses.replace(measure(vision, *probe), **losses)
                progress.log(step, to_json(metrics))
                save_pairs(folder.vision_picture, probe[0][:24], reconstruct(vision, probe[0][:24]))
                if metrics.active < min(COLLAPSED, vision.config.latent):
                    progress.bar.write(f"warning: V is collapsing: {metrics.active} active dimensions")
    metrics = metrics or measure(vision, *probe)
    write_result(folder.vision_metrics, metrics)
    return metrics


def build(config: VisionConfig) -> Vision:
    """V of a complete configuration, with random weights, on the best device."""
    kind, own = _network(config)
    return on_best_device(kind.network(kind.config(latent=config.latent, **own)))


def complete(config: VisionConfig, task: Task) -> VisionConfig:
    """The configuration with the latent dimensions that its kind has in a game, if none are given."""
    kind, own = _network(config)
    usual = kind.config.usual_latent(task.latent, **own)
    return config.replace(latent=usual) if config.latent == "paper" else config


def _network(config: VisionConfig) -> tuple[Kind[Any, Vision], dict[str, Any]]:
    """The kind of the network, and the fields of its config that are the kind's own."""
    own = network_fields(VaeGan if isinstance(config, VaeGan) else PixelVision, config)
    return vision_kinds()["conv-vae" if isinstance(config, VaeGan) else config.kind], own


def _images(frames: NDArray[np.uint8]) -> torch.Tensor:
    return to_images(torch.from_numpy(frames).to(best_device()))


def _adversary(vision: Any, optimizer: torch.optim.Adam, config: VaeGan) -> Adversary:
    """The discriminator of a VAE-GAN."""
    for group in optimizer.param_groups:
        group["betas"] = BETAS
    return Adversary(vision, config.gamma, config.scale, config.free_nats, config.learning_rate)


def _with_objects(parts: list[Part], store: RolloutStore) -> list[Part]:
    """The parts that have recorded where objects are."""
    recorded_parts = [part for part in parts if part.has_objects]
    if not recorded_parts:
        raise InvalidOption(
            "objects",
            "a weight",
            f"parts with objects in {store.folder}",
            "record some with `python -m training collect --objects`",
        )
    return recorded_parts


def _batches(parts: list[Any], config: VisionConfig, seed: int, first: int) -> Any:
    """Batches first, first+1, ... of the shuffled stream, which is the same every time."""
    blocks = FrameBlocks(parts, seed, objects=isinstance(config, PixelVision) and config.objects > 0)
    size = config.batch_size
    a_block = max(1, blocks.block_size // size)
    skip = first % a_block
    for block in blocks.stream(first // a_block):
        for index in range(skip, a_block):
            at = slice(index * size, (index + 1) * size)
            yield tuple(part[at] for part in block)
        skip = 0


def train_batch(
    vision: Vision,
    optimizer: Any,
    batch: tuple[NDArray[Any], ...],
    draw: torch.Generator,
    config: PixelVision,
    progress: float,
    kinds_of_objects: list[float],
) -> None:
    """One step on a batch: frames, their neighbours and, if V learns on objects, the pixels of these."""
    device = next(vision.parameters()).device
    frames, neighbours, *objects = (torch.from_numpy(part).to(device) for part in batch)
    images = to_images(frames)
    noise = torch.randn(len(images), vision.config.latent, generator=draw).to(device)
    with autocast(device):
        reconstruction, mean, logvar = vision(images, noise)
    weight = torch.ones(len(images), 1, 64, 64, device=device)
    if config.motion > 0:
        weight = weight * motion_weight(images, to_images(neighbours), config.motion)
    if config.focus > 0:
        weight = weight * error_weight(images, reconstruction, config.focus)
    if objects:
        of_kinds = torch.tensor(kinds_of_objects, device=device)
        weight = weight * object_weight(objects[0], config.objects * of_kinds)
    scale = config.scale * (COOLED ** max(0.0, 2 * progress - 1) if config.error == CALIBRATED else 1)
    loss = total_loss(vision.loss(images, reconstruction, mean, logvar, weight, config.free_nats, scale, config.error))
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(vision, 200.0)
    optimizer.step()
