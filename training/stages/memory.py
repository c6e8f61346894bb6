"""Encode the store with V, train M on the latents, and write the world bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny
from torch import Tensor

from training.config.base import FLAT, MAY_CHANGE, Config, Count, Natural, Positive, Probability
from training.config.commands import Machine, ModelRound
from training.config.kinds import by_kind, choose, config_of_kind, narrowed, network_fields
from training.config.records import recorded
from training.data.episode_store import PARTS_A_ROUND, RolloutStore
from training.data.latent_cache import encode_store, load_vision, weights_hash
from training.data.sequences import Latents, SequenceBatch, Streams, join, reward_unit
from training.infra.best_weights import BEST, CHECKS, LOSS, BestWeights
from training.infra.checkpoint import (
    load_checkpoint,
    read_extra_state,
    read_memory_config,
    save_checkpoint,
    start_from,
)
from training.infra.pool import Workers
from training.infra.progress import Progress
from training.infra.records import to_json, write_result
from training.infra.run_folder import RoundFolder
from training.judging.memory_metrics import (
    MemoryMetrics,
    active_dimensions,
    fit_end_bias,
    losses,
    measure,
    predict,
    reward_weight,
    with_training,
)
from training.judging.motion import Motion, measure_motion, recorded_pieces
from training.judging.world_card import WorldCard
from training.learning.moments import recorded_moments
from training.learning.optim import clip_gradients, generator, one_cycle, total_loss
from wm_envs.errors import InvalidOption
from wm_envs.games.base import Task
from wm_envs.hardware import best_device
from wm_envs.models.memory.autoregressive import AutoregressiveConfig
from wm_envs.models.memory.base import Memory
from wm_envs.models.memory.base import MemoryConfig as NetworkConfig
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.state import Recurrent
from wm_envs.models.vision.base import Vision
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.worlds.bundle import save_world

MOTION_FRAMES = 2_000  # of the store's first part, to measure what moves


class MemoryConfig(Config):
    """How M is trained."""

    kind: str = Field("mdn-rnn", description=f"{' or '.join(memory_kinds())}; --kind NAME --help: its options")
    frame_skip: Count | Literal["game", "motion"] = Field(
        "game",
        description="ticks in a step of M (the paper: 1); game: 4, or what the game says; motion: 1 to 4, as many as "
        "move things about two pixels",
    )
    posterior_noise: Positive = Field(1.0, description="share of V's posterior noise in the latents (the paper: 1)")
    hidden: Count | Literal["paper"] = Field(
        "paper", description="H, units of the LSTM; paper: as the paper has for this game"
    )
    observed: Literal["all", "modelled"] = Field(
        "all", description="latents that C observes: all, or only those that M models"
    )
    clock: bool = Field(False, description="give M the time since the start of the episode as an input")
    progress: bool = Field(False, description="give M the remaining progress as an input (CarRacing: of the lap)")
    clip_rewards: bool = Field(
        False, description="the dream pays no step less or more than the lowest and highest of the training data"
    )
    steps: Count = Field(30_000_000, description="training steps")
    passes: Natural = Field(0, description="bound on the passes over the training data, which lowers --steps; 0: none")
    keep_best: bool = Field(
        False, description="the world gets the weights with the lowest held-out loss, not the last ones"
    )
    patience: Natural = Field(0, description="with --keep-best: checks without a lower loss that end it; 0: never")
    batch_size: Count = Field(32, description="sequences in a batch; the number of updates limits what M learns")
    sequence_length: Count = Field(48, description="steps of back-propagation through time")
    learning_rate: Positive = Field(1.5e-3, description="highest rate of the one-cycle schedule")
    latent_dropout: Annotated[Probability, Field(lt=1)] = Field(
        0.0, description="probability that an input latent vector is zeroed (the paper: 0)"
    )
    calibrate: bool = Field(True, description="calibrate the probability of the end on held-out episodes")
    checkpoint_every: Annotated[Count, MAY_CHANGE] = Field(1000, description="batches between checkpoints")


def kinds() -> dict[str, type[MemoryConfig]]:
    """Every --kind, and its options."""
    return {name: config_of_kind(MemoryConfig, name, kind.config) for name, kind in memory_kinds().items()}


AnyMemory = Annotated[SerializeAsAny[MemoryConfig], BeforeValidator(partial(by_kind, kinds))]


def of_kind(kind: str, **values: Any) -> MemoryConfig:
    """The configuration of a kind; raises `InvalidOption` for one that does not exist, and for wrong values."""
    return choose(kinds(), kind)(**values)


class Command(ModelRound, Machine):
    """Train M on V's latents of the rollouts, with the latest V up to the round; the results are M and the world of
    the round."""

    config: Annotated[AnyMemory, FLAT] = of_kind("mdn-rnn")

    @classmethod
    def defaults(cls, words: list[str]) -> Self:
        """Those of the kind that the words choose."""
        return cls(config=narrowed(of_kind("mdn-rnn"), kinds(), words, "kind"))


def main(command: Command) -> MemoryMetrics:
    """Train M, or continue its training, measure it on held-out episodes, and write the bundle."""
    folder, task = command.folder, command.game
    store = RolloutStore(folder.run.rollouts, task.name, command.rounds_of_play)
    motion = lambda: measure_motion(recorded_pieces(store.parts[0], MOTION_FRAMES))  # noqa: E731
    command = command.replace(config=complete(command.config, task, motion))
    weights = folder.run.vision_round(folder.number).vision
    vision = load_vision(weights)
    with recorded(folder.memory_options, command, vision=weights_hash(vision)[:16]):
        workers = command.pool if best_device().type == "cpu" else Workers(1)  # a GPU serves one process best
        encoded = encode_store(vision, weights, store.parts, folder.run.latents, folder.logs, workers)
        by_part = {part.index: latents for part, latents in zip(store.parts, encoded, strict=True)}
        return Training(folder, task, command.config, command.seed, command.start).run(store, vision, by_part)


def complete(config: MemoryConfig, task: Task, motion: Callable[[], Motion]) -> MemoryConfig:
    """The configuration with the game's own sizes; raises `InvalidOption` for progress in a game without a goal.

    `motion` measures what moves, if the length of a step follows from it.
    """
    if config.progress and not task.rewards.goal:
        raise InvalidOption("progress", True, f"a game with a goal, which {task.title} is not", "omit it")
    skip = config.frame_skip
    return config.replace(
        hidden=task.hidden if config.hidden == "paper" else config.hidden,
        frame_skip=motion().frame_skip if skip == "motion" else task.timing.frame_skip if skip == "game" else skip,
    )


class Training:
    """The training of one M, which resumes from its checkpoint."""

    CHECKS = 16  # at least, of a training that keeps its best weights
    CHECKED = 8  # windows of held-out episodes in such a check

    def __init__(self, folder: RoundFolder, task: Task, config: MemoryConfig, seed: int, start: str) -> None:
        assert isinstance(config.frame_skip, int), "it is complete"
        self.folder, self.task, self.config, self.seed, self.start = folder, task, config, seed, start
        self.frame_skip = config.frame_skip

    def run(self, store: RolloutStore, vision: Vision, encoded: dict[int, tuple[Tensor, Tensor]]) -> MemoryMetrics:
        """Train, calibrate, write the bundle; `encoded` has V's latents of every part, by the index of the part."""
        config, task = self.config, self.task
        first = [part for part in store.parts if part.index < PARTS_A_ROUND]  # so that M keeps its unit in later rounds
        reward_scale = None if task.rewards.survival else reward_unit(task, first or store.parts, self.frame_skip)
        training, held_out = (
            join(
                parts,
                [encoded[part.index] for part in parts],
                self.frame_skip,
                config.posterior_noise,
                reward_scale,
                task if config.progress else None,
            )
            for parts in store.split()
        )
        encoded.clear()
        torch.manual_seed(self.seed)
        network = network_config(task, training, config, self.start)
        memory = memory_kinds().build(network).to(best_device())
        classes = getattr(network, "reward_bins", 0) > 0  # cross-entropy does not forget what is rare
        weight = 1.0 if classes else reward_weight(training.rewards)
        self.train(memory, training, held_out, weight)
        metrics = with_training(*(measure(memory, latents, weight) for latents in (held_out, training)))
        if config.calibrate:
            metrics = dataclasses.replace(metrics, **fit_end_bias(memory, held_out))
        burn_in = -(-task.timing.burn_in // self.frame_skip) * self.frame_skip
        means, logvars, *recurrent = initial_states(memory, training, burn_in)
        world = WorldModel(
            WorldConfig(
                task=task.name,
                vision=vision.config,
                memory=network,
                frame_skip=self.frame_skip,
                posterior_noise=config.posterior_noise,
                burn_in=burn_in,
                observed=config.observed,
                reward_scale=reward_scale or 0.0,
                reward_range=reward_range(training, reward_scale) if config.clip_rewards else None,
            ),
            vision,
            memory,
            means,
            logvars,
            tuple(recurrent) or None,
        )
        recorded_moments(memory, training, burn_in).save(self.folder.moments, memory)
        save_world(self.folder.world, world, to_json(WorldCard(memory=metrics)))
        write_result(self.folder.memory_metrics, metrics)
        return metrics

    def train(self, memory: Memory, training: Latents, held_out: Latents, weight: float) -> None:
        """Train to `config.steps` or to the end of the patience, with checkpoints."""
        path, config = self.folder.memory, self.config
        optimizer = torch.optim.Adam(memory.parameters(), config.learning_rate, fused=True)
        streams = Streams(training, config.batch_size, config.sequence_length, self.seed)
        batches = planned_batches(config, len(training.means))
        check_every, check = config.checkpoint_every, measure
        if config.keep_best:
            check_every = max(1, min(check_every, batches // self.CHECKS))
            check = partial(measure, max_batches=self.CHECKED)
        best = BestWeights(memory)
        state, step = memory.initial_state(config.batch_size), 0
        if path.exists():
            step, state = self.resume(memory, optimizer, best)
        elif self.start:
            start_from(self.start, memory)
        with Progress("memory", batches, self.folder.logs, "batches") as progress:
            progress.skip(step)
            while step < batches and not 0 < config.patience <= best.checks:
                for group in optimizer.param_groups:
                    group["lr"] = one_cycle(step / batches, config.learning_rate, warm=0.03, last=0.03)
                draw = generator(self.seed, step)
                batch = drop_latents(streams.batch(step, draw), config.latent_dropout, draw)
                state = train_batch(memory, optimizer, batch, state, weight)
                step += 1
                progress.update(1)
                if step % check_every == 0 or step == batches:
                    metrics = check(memory, held_out, weight)
                    extra_state = dict(zip(memory.recurrent_shapes, state, strict=True))
                    if config.keep_best:
                        assert metrics.loss is not None, "it is measured"
                        best.check(metrics.loss)
                        extra_state |= best.tensors()
                    save_checkpoint(path, memory, optimizer, step, extra_state)
                    progress.log(step, to_json(metrics))
        best.restore()

    def resume(self, memory: Memory, optimizer: Any, best: BestWeights) -> tuple[int, Recurrent]:
        """Fill M, the optimizer and the best weights from the checkpoint; returns the step and the carried state."""
        path, rows = self.folder.memory, self.config.batch_size
        step, extra_state = load_checkpoint(path, memory, optimizer)
        shapes = {name: (rows, *shape) for name, shape in memory.recurrent_shapes.items()}
        if self.config.keep_best:
            kept = {BEST + name: tuple(value.shape) for name, value in memory.state_dict().items()}
            loss, checks, *weights = read_extra_state(path, extra_state, {LOSS: (), CHECKS: ()} | kept)
            best.resume(loss, checks, weights)
        return step, tuple(read_extra_state(path, extra_state, shapes))


def planned_batches(config: MemoryConfig, ticks: int) -> int:
    """The batches of a training on so many ticks; a pass over the data has one step a tick."""
    steps = min(config.steps, config.passes * ticks) if config.passes else config.steps
    return max(1, steps // (config.batch_size * config.sequence_length))


def reward_range(latents: Latents, scale: float | None) -> tuple[float, float] | None:
    """The lowest and the highest reward of a step, in the game's unit; None for a game of survival."""
    if latents.rewards is None or scale is None:
        return None
    return float(latents.rewards.min()) * scale, float(latents.rewards.max()) * scale


def network_config(task: Task, latents: Latents, config: MemoryConfig, start: str = "") -> NetworkConfig:
    """The config of M's network for latents (N, Z) of a task, as the options and the weights to start from say."""
    before = read_memory_config(start) if start else None
    own: dict[str, Any] = {
        "latent": latents.means.shape[1],
        "action": task.actions.size,
        "hidden": config.hidden,
        "reward": not task.rewards.survival,
        "clock": task.timing.tick_limit * config.clock,
        "progress": config.progress,
        "end_reward": before.end_reward if before else not task.rewards.survival,
    } | network_fields(MemoryConfig, config)
    kind = memory_kinds()[config.kind].config
    if "active" in {field.name for field in dataclasses.fields(kind)}:
        # Weights go with the order of the dimensions, which other play would change.
        own["active"] = before.active if isinstance(before, AutoregressiveConfig) else active_dimensions(latents)
    return kind(**own)


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
