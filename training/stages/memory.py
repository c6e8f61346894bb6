"""Encode the store with V, train M on the latents, and write the world bundle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.data.episode_store import PARTS_A_ROUND, RolloutStore
from training.data.latent_cache import encode_store, load_vision, weights_hash
from training.data.sequences import Latents, SequenceBatch, Streams, join, reward_unit
from training.infra.checkpoint import (
    load_checkpoint,
    read_extra_state,
    read_memory_config,
    save_checkpoint,
    start_from,
)
from training.infra.option_groups import ModelRoundOptions, ProcessOption, SeedOption, TaskOption
from training.infra.options import check_options, check_run_options, stage_option
from training.infra.pool import Workers
from training.infra.progress import Progress
from training.infra.records import to_json, write_result
from training.infra.run_folder import RoundFolder, RunFolder
from training.judging.memory_metrics import (
    MemoryMetrics,
    active_dimensions,
    fit_end_bias,
    losses,
    measure,
    predict,
    reward_weight,
)
from training.judging.world_card import WorldCard
from training.learning.optim import clip_gradients, generator, one_cycle, total_loss
from wm_envs.errors import InvalidOption
from wm_envs.files import file_lock
from wm_envs.games.base import Task
from wm_envs.games.registry import get_task
from wm_envs.hardware import best_device
from wm_envs.models.memory.autoregressive import AutoregressiveConfig
from wm_envs.models.memory.base import Memory, MemoryConfig
from wm_envs.models.memory.mdn_rnn import MDNRNNConfig
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.state import Recurrent
from wm_envs.models.vision.base import Vision
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.worlds.bundle import save_world


@dataclass
class MemoryOptions(TaskOption, SeedOption, ProcessOption, ModelRoundOptions):
    """Train M on V's latents of the rollouts, with the latest V up to the round; the results are M and the world of
    the round."""

    rounds: int = stage_option(0, "number of rounds of play to learn from (0: all)", identity=True, minimum=0)
    frame_skip: int = stage_option(
        0, "ticks in a step of M (the paper: 1; 0: 4, or what the game says)", identity=True, minimum=0
    )
    posterior_noise: float = stage_option(
        1.0, "share of V's posterior noise in the latents (the paper: 1)", identity=True, exclusive_minimum=0
    )
    kind: str = stage_option(
        "mdn-rnn", "the paper's head, or one that draws the active latents one after the other", identity=True,
        choices=tuple(memory_kinds()),
    )  # fmt: skip
    hidden: int = stage_option(0, "H, units of the LSTM (0: the paper's for this game)", identity=True, minimum=0)
    mixtures: int = stage_option(5, "K, components of each mixture", identity=True, minimum=1)
    joint: bool = stage_option(False, "one mixture over all of z (the paper: one per dimension)", identity=True)
    units: int = stage_option(
        48, "units between h and the mixture of one dimension, for --kind autoregressive", identity=True, minimum=1
    )
    observed: str = stage_option(
        "all", "latents that C observes: all, or only those that M models", identity=True, choices=("all", "modelled")
    )
    clock: bool = stage_option(False, "M also sees the time since the start of the episode", identity=True)
    progress: bool = stage_option(
        False, "M also sees what is left to the goal, so that it can end there (CarRacing: the lap)", identity=True
    )
    steps: int = stage_option(30_000_000, "training steps", identity=True, minimum=1)
    batch_size: int = stage_option(
        32, "sequences in a batch; the number of updates limits what M learns", identity=True, minimum=1
    )
    sequence_length: int = stage_option(48, "steps of back-propagation through time", identity=True, minimum=1)
    learning_rate: float = stage_option(
        1.5e-3, "highest rate of the one-cycle schedule", identity=True, exclusive_minimum=0
    )
    latent_dropout: float = stage_option(
        0.0, "probability that an input latent vector is zeroed (the paper: 0)", identity=True, minimum=0,
        exclusive_maximum=1,
    )  # fmt: skip
    start: str = stage_option(
        "", "weights to start from: the checkpoint of an M, or a world", identity=True, path=True
    )  # fmt: skip
    calibrate: bool = stage_option(True, "calibrate the probability of the end on held-out episodes", identity=True)
    checkpoint_every: int = stage_option(1000, "batches between checkpoints", minimum=1)

    def check(self) -> None:
        """Raises `InvalidOption` for progress in a game without a goal."""
        super().check()
        if self.progress and not get_task(self.task).rewards.goal:
            expected = f"a game with a goal, which {get_task(self.task).title} is not"
            raise InvalidOption("progress", True, expected, "omit it")


@dataclass
class MemoryRecord(MemoryOptions):
    """The options, and the V whose latents M is trained on."""

    vision: str = stage_option("", "hash of the weights of V", identity=True)


def main(options: MemoryOptions) -> MemoryMetrics:
    """Train M, or continue its training, measure it on held-out episodes, and write the bundle."""
    check_options(options)
    RunFolder(options.run).check_round(options.round)
    run, task = RunFolder(options.run), get_task(options.task)
    options = dataclasses.replace(
        options, hidden=options.hidden or task.hidden, frame_skip=options.frame_skip or task.timing.frame_skip
    )
    store = RolloutStore(run.rollouts, options.task, options.rounds)
    folder, weights = run.round(options.round), run.vision_round(options.round).vision
    vision = load_vision(weights)
    record = MemoryRecord(**vars(options), vision=weights_hash(vision)[:16])
    with file_lock(folder.memory), check_run_options(folder.memory_options, record):
        encoded = _encode(folder, store, vision, weights, options)
        return _make(folder, task, store, vision, encoded, options)


def _encode(
    folder: RoundFolder, store: RolloutStore, vision: Vision, weights: Path, options: MemoryOptions
) -> dict[int, tuple[Tensor, Tensor]]:
    """V's latents of every part, by the index of the part."""
    workers = Workers(options.workers if best_device().type == "cpu" else 1)  # a GPU serves one process best
    encoded = encode_store(vision, weights, store.parts, folder.run.latents, folder.logs, workers)
    return {part.index: latents for part, latents in zip(store.parts, encoded, strict=True)}


def _make(
    folder: RoundFolder, task: Task, store: RolloutStore, vision: Vision, encoded: dict[int, tuple[Tensor, Tensor]],
    options: MemoryOptions,
) -> MemoryMetrics:  # fmt: skip
    """Train, calibrate, write the bundle."""
    first = [part for part in store.parts if part.index < PARTS_A_ROUND]  # so that M keeps its unit in later rounds
    reward_scale = None if task.rewards.survival else reward_unit(task, first or store.parts, options.frame_skip)
    training, held_out = (
        join(
            parts,
            [encoded[part.index] for part in parts],
            options.frame_skip,
            options.posterior_noise,
            reward_scale,
            task if options.progress else None,
        )
        for parts in store.split()
    )
    encoded.clear()
    torch.manual_seed(options.seed)
    config = memory_config(task, training, options)
    memory = memory_kinds().build(config).to(best_device())
    metrics = train(memory, training, held_out, folder, options)
    if options.calibrate:
        metrics = dataclasses.replace(metrics, **fit_end_bias(memory, held_out))
    burn_in = -(-task.timing.burn_in // options.frame_skip) * options.frame_skip
    means, logvars, *recurrent = initial_states(memory, training, burn_in)
    world = WorldModel(
        WorldConfig(
            task=task.name, vision=vision.config, memory=config, frame_skip=options.frame_skip,
            posterior_noise=options.posterior_noise, burn_in=burn_in, observed=options.observed,  # type: ignore[arg-type]
            reward_scale=reward_scale or 0.0,
        ),
        vision, memory, means, logvars, tuple(recurrent) or None,
    )  # fmt: skip
    save_world(folder.world, world, to_json(WorldCard(memory=metrics)))
    write_result(folder.memory_metrics, metrics)
    return metrics


def memory_config(task: Task, latents: Latents, options: MemoryOptions) -> MemoryConfig:
    """The config of M for latents (N, Z) of a task."""
    start = read_memory_config(options.start) if options.start else None
    shared: dict[str, Any] = {
        "latent": latents.means.shape[1], "action": task.actions.size, "hidden": options.hidden,
        "mixtures": options.mixtures, "reward": not task.rewards.survival, "progress": options.progress,
        "clock": task.timing.tick_limit * options.clock,
        "end_reward": start.end_reward if start else not task.rewards.survival,
    }  # fmt: skip
    if options.kind == "autoregressive":
        # Weights go with the order of the dimensions, which other play would change.
        active = start.active if isinstance(start, AutoregressiveConfig) else active_dimensions(latents)
        return AutoregressiveConfig(**shared, active=active, units=options.units)
    return MDNRNNConfig(**shared, joint=options.joint)


@torch.no_grad()
def initial_states(memory: Memory, latents: Latents, burn_in: int, max_episodes: int = 1024) -> list[Tensor]:
    """Where dreams start: means and logvars (N, Z) of the frames `burn_in` ticks into at most `max_episodes` episodes
    and, with a burn-in, M's h and c (N, H) after those ticks."""
    starts = torch.from_numpy(latents.starts[latents.lengths > burn_in][:max_episodes])
    state, draw = memory.initial_state(len(starts)), generator(5, 0)
    for at in range(0, burn_in, latents.frame_skip):
        ticks = torch.full((1, len(starts)), at)
        seen = latents.draw(starts + at, draw)[None]
        progress = None if latents.progress is None else torch.from_numpy(latents.progress[starts + at])[None]
        inputs = memory.assemble(seen, latents.actions[starts + at][None], ticks, progress=progress)
        _, state = memory(inputs.to(memory.device), state)
    found = [latents.means[starts + burn_in].float(), latents.logvars[starts + burn_in].float()]
    return [*found, *state] if burn_in else found


def train(
    memory: Memory, training: Latents, held_out: Latents, folder: RoundFolder, options: MemoryOptions
) -> MemoryMetrics:
    """Train to `options.steps`, with checkpoints; returns the held-out metrics at the end."""
    path = folder.memory
    optimizer = torch.optim.Adam(memory.parameters(), options.learning_rate, fused=True)
    streams = Streams(training, options.batch_size, options.sequence_length, options.seed)
    batches = max(1, options.steps // (options.batch_size * options.sequence_length))
    state, step, weight = memory.initial_state(options.batch_size), 0, reward_weight(training.rewards)
    if path.exists():
        step, extra_state = load_checkpoint(path, memory, optimizer)
        shapes = {name: (options.batch_size, *shape) for name, shape in memory.recurrent_shapes.items()}
        state = tuple(read_extra_state(path, extra_state, shapes))
    elif options.start:
        start_from(options.start, memory)
    metrics: MemoryMetrics | None = None
    with Progress("memory", batches, folder.logs, "batches") as progress:
        progress.skip(step)
        while step < batches:
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(step / batches, options.learning_rate, warm=0.03, last=0.03)
            draw = generator(options.seed, step)
            batch = drop_latents(streams.batch(step, draw), options.latent_dropout, draw)
            state = train_batch(memory, optimizer, batch, state, weight)
            step += 1
            progress.update(1)
            if step % options.checkpoint_every == 0 or step == batches:
                save_checkpoint(path, memory, optimizer, step, dict(zip(memory.recurrent_shapes, state, strict=True)))
                metrics = measure(memory, held_out)
                progress.log(step, to_json(metrics))
    return metrics or measure(memory, held_out)


def drop_latents(batch: SequenceBatch, share: float, draw: torch.Generator) -> SequenceBatch:
    """The window with the latents of a random share of its steps set to zero.

    In a dream M reads its own samples, in which a fireball can be faint. An M that sometimes sees no latents learns to
    rely on its state instead.
    """
    if share == 0:
        return batch
    seen = (torch.rand(batch.restart.shape, generator=draw) >= share) | (batch.restart > 0)
    return dataclasses.replace(batch, latents=batch.latents * seen[..., None])


def train_batch(
    memory: Memory, optimizer: Any, batch: SequenceBatch, state: Recurrent, reward_weight: float = 1.0
) -> Recurrent:
    """One step of back-propagation through a window; returns the carried state."""
    prediction, state = predict(memory, batch, state)
    _, _, loss = losses(memory, prediction, batch, reward_weight)
    total_loss(loss)
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(memory, 1.0)
    optimizer.step()
    return tuple(part.detach() for part in state)
