"""Stage 3, memory: encode the store with V, train M on the latents, and write the world bundle."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.episode_store import RolloutStore
from training.data.latent_cache import encode_store, load_vision, weights_hash
from training.data.sequences import Latents, SequenceBatch, Streams, join
from training.infra.checkpoint import load_checkpoint, read_extra_state, save_checkpoint, start_from
from training.infra.optim import clip_gradients, generator, one_cycle, total_loss
from training.infra.option_groups import ModelRoundOptions, ProcessOption, SeedOption, TaskOption
from training.infra.options import check_options, check_run_options, stage_option
from training.infra.pool import Workers
from training.infra.progress import Progress
from training.infra.run_folder import RoundFolder, RunFolder
from wm_envs.files import file_lock, write_text
from wm_envs.games.base import Task
from wm_envs.games.registry import get_task
from wm_envs.hardware import best_device, compute_dtype
from wm_envs.models.autoregressive import AutoregressiveConfig
from wm_envs.models.bundle import MEMORY_KINDS, save_world
from wm_envs.models.mdn_rnn import MDNRNN, MDNRNNConfig, memory_loss
from wm_envs.models.state import Recurrent
from wm_envs.models.vae import ACTIVE, ConvVAE, kl_per_dimension
from wm_envs.models.world_model import WorldConfig, WorldModel


@dataclass
class MemoryOptions(TaskOption, SeedOption, ProcessOption, ModelRoundOptions):
    """Train M on V's latents of the rollouts, with the latest V up to the round; the results are M and the world of
    the round."""

    rounds: int = stage_option(0, "number of rounds of play to learn from (0: all)", identity=True, minimum=0)
    frame_skip: int = stage_option(4, "ticks in a step of M (the paper: 1)", identity=True, minimum=1)
    posterior_noise: float = stage_option(
        1.0, "share of V's posterior noise in the latents (the paper: 1)", identity=True, exclusive_minimum=0
    )
    kind: str = stage_option(
        "mdn-rnn", "the paper's head, or one that draws the active latents one after the other", identity=True,
        choices=tuple(MEMORY_KINDS),
    )  # fmt: skip
    hidden: int = stage_option(0, "H, units of the LSTM (0: the paper's for this game)", identity=True, minimum=0)
    mixtures: int = stage_option(5, "K, components of each mixture", identity=True, minimum=1)
    joint: bool = stage_option(False, "one mixture over all of z (the paper: one per dimension)", identity=True)
    units: int = stage_option(
        48, "units between h and the mixture of one dimension, for --kind autoregressive", identity=True, minimum=1
    )
    steps: int = stage_option(30_000_000, "training steps", identity=True, minimum=1)
    batch_size: int = stage_option(256, "sequences in a batch", identity=True, minimum=1)
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
    checkpoint_every: int = stage_option(200, "batches between checkpoints", minimum=1)


@dataclass
class MemoryRecord(MemoryOptions):
    """The options, and the V whose latents M is trained on."""

    vision: str = stage_option("", "hash of the weights of V", identity=True)


def main(options: MemoryOptions) -> dict[str, Any]:
    """Train M, or continue its training, measure it on held-out episodes, and write the bundle."""
    check_options(options)
    run, task = RunFolder(options.run), get_task(options.task)
    options = dataclasses.replace(options, hidden=options.hidden or task.hidden)
    store = RolloutStore(run.rollouts, options.task, options.rounds)
    folder, weights = run.round(options.round), run.vision_round(options.round).vision
    vision = load_vision(weights)
    record = MemoryRecord(**vars(options), vision=weights_hash(vision)[:16])
    with file_lock(folder.memory), check_run_options(folder.memory_options, record):
        encoded = _encode(folder, store, vision, weights, options)
        return _make(folder, task, store, vision, encoded, options)


def _encode(
    folder: RoundFolder, store: RolloutStore, vision: ConvVAE, weights: Path, options: MemoryOptions
) -> dict[int, tuple[Tensor, Tensor]]:
    """V's latents of every part, by the index of the part."""
    workers = Workers(options.workers if best_device().type == "cpu" else 1)  # a GPU serves one process best
    encoded = encode_store(vision, weights, store.parts, folder.run.latents, folder.logs, workers)
    return {part.index: latents for part, latents in zip(store.parts, encoded, strict=True)}


def _make(
    folder: RoundFolder, task: Task, store: RolloutStore, vision: ConvVAE, encoded: dict[int, tuple[Tensor, Tensor]],
    options: MemoryOptions,
) -> dict[str, Any]:  # fmt: skip
    """Train, calibrate, write the bundle."""
    training, held_out = (
        join(
            parts,
            [encoded[part.index] for part in parts],
            options.frame_skip,
            options.posterior_noise,
            None if task.survival else task.reward_scale,
        )
        for parts in store.split()
    )
    encoded.clear()
    torch.manual_seed(options.seed)
    config = memory_config(task, training, options)
    memory = MEMORY_KINDS[options.kind][1](config).to(best_device())
    metrics = train(memory, training, held_out, folder, options)
    if options.calibrate:
        metrics |= calibrate(memory, held_out)
    burn_in = -(-task.burn_in // options.frame_skip) * options.frame_skip
    means, logvars, *recurrent = initial_states(memory, training, burn_in)
    world = WorldModel(
        WorldConfig(
            task=task.name, vision=vision.config, memory=config, frame_skip=options.frame_skip,
            posterior_noise=options.posterior_noise, burn_in=burn_in,
        ),
        vision, memory, means, logvars, tuple(recurrent) or None,
    )  # fmt: skip
    save_world(folder.world, world, {"memory": metrics})
    write_text(folder.memory_metrics, json.dumps(metrics))
    return metrics


def memory_config(task: Task, latents: Latents, options: MemoryOptions) -> MDNRNNConfig:
    """The config of M for latents (N, Z) of a task."""
    shared: dict[str, Any] = {
        "latent": latents.means.shape[1], "action": task.action_size, "hidden": options.hidden,
        "mixtures": options.mixtures, "reward": not task.survival,
    }  # fmt: skip
    if options.kind == "autoregressive":
        return AutoregressiveConfig(**shared, active=active_dimensions(latents), units=options.units)
    return MDNRNNConfig(**shared, joint=options.joint)


def active_dimensions(latents: Latents) -> tuple[int, ...]:
    """The latent dimensions that V uses, most informative first: those with a mean KL above `ACTIVE`; all if none."""
    at = torch.randperm(len(latents.means), generator=generator(4, 0))[:50_000]
    kl = kl_per_dimension(latents.means[at].float(), latents.logvars[at].float()).mean(0)  # (Z,)
    order: list[int] = kl.argsort(descending=True).tolist()
    return tuple(dimension for dimension in order if kl[dimension] > ACTIVE) or tuple(order)


@torch.no_grad()
def initial_states(memory: MDNRNN, latents: Latents, burn_in: int, max_episodes: int = 1024) -> list[Tensor]:
    """Where dreams start: means and logvars (N, Z) of the frames `burn_in` ticks into at most `max_episodes` episodes
    and, with a burn-in, M's h and c (N, H) after those ticks."""
    starts = torch.from_numpy(latents.starts[latents.lengths > burn_in][:max_episodes])
    state, draw = memory.initial_state(len(starts)), generator(5, 0)
    for at in range(0, burn_in, latents.frame_skip):
        restart = torch.full((1, len(starts)), float(at == 0))
        seen = latents.draw(starts + at, draw)[None]
        _, state = memory(memory.assemble(seen, latents.actions[starts + at][None], restart).to(memory.device), state)
    found = [latents.means[starts + burn_in].float(), latents.logvars[starts + burn_in].float()]
    return [*found, *state] if burn_in else found


def train(
    memory: MDNRNN, training: Latents, held_out: Latents, folder: RoundFolder, options: MemoryOptions
) -> dict[str, float]:
    """Train to `options.steps`, with checkpoints; returns the held-out metrics at the end."""
    path = folder.memory
    optimizer = torch.optim.Adam(memory.parameters(), options.learning_rate, fused=True)
    streams = Streams(training, options.batch_size, options.sequence_length, options.seed)
    batches = max(1, options.steps // (options.batch_size * options.sequence_length))
    state, step = memory.initial_state(options.batch_size), 0
    if path.exists():
        step, extra_state = load_checkpoint(path, memory, optimizer)
        shapes = {name: (options.batch_size, *shape) for name, shape in memory.recurrent_shapes.items()}
        state = tuple(read_extra_state(path, extra_state, shapes))
    elif options.start:
        start_from(options.start, memory)
    metrics: dict[str, float] = {}
    with Progress("memory", batches, folder.logs, "batches") as progress:
        progress.skip(step)
        while step < batches:
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(step / batches, options.learning_rate, warm=0.03, last=0.03)
            draw = generator(options.seed, step)
            batch = drop_latents(streams.batch(step, draw), options.latent_dropout, draw)
            state = train_batch(memory, optimizer, batch, state)
            step += 1
            progress.update(1)
            if step % options.checkpoint_every == 0 or step == batches:
                save_checkpoint(path, memory, optimizer, step, dict(zip(memory.recurrent_shapes, state, strict=True)))
                metrics = measure(memory, held_out)
                progress.log(step, metrics)
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


def train_batch(memory: MDNRNN, optimizer: Any, batch: SequenceBatch, state: Recurrent) -> Recurrent:
    """One step of back-propagation through a window; returns the carried state."""
    prediction, state = predict(memory, batch, state)
    _, _, loss = losses(memory, prediction, batch)
    total_loss(loss)
    optimizer.zero_grad()
    loss.backward()
    clip_gradients(memory, 1.0)
    optimizer.step()
    return tuple(part.detach() for part in state)


def losses(memory: MDNRNN, prediction: Any, batch: SequenceBatch) -> tuple[Tensor, Tensor, Tensor]:
    """`memory_loss` of a prediction for a window."""
    device = prediction.termination.device
    rewards = None if batch.rewards is None else batch.rewards.to(device)
    return memory_loss(
        memory, prediction, batch.targets.to(device), batch.terminated.to(device), batch.has_next.to(device),
        (batch.has_next + batch.terminated).to(device), rewards,
    )  # fmt: skip


def predict(memory: MDNRNN, batch: SequenceBatch, state: Recurrent) -> tuple[Any, Recurrent]:
    """M's prediction for a window. A sequence that starts an episode with the window starts from zeros;
    within the window the restart flag tells M to forget, as in the paper."""
    device = memory.device
    keep = (1 - batch.restart[0])[:, None].to(device)
    state = tuple(part.to(device) * keep for part in state)
    inputs = memory.assemble(batch.latents, batch.actions, batch.restart).to(device)
    dtype = compute_dtype(device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        outputs, after = memory(inputs, state)
    return memory.split(outputs.float()), tuple(part.float() for part in after)


@torch.no_grad()
def measure(memory: MDNRNN, latents: Latents, batch_size: int = 64, max_batches: int = 24) -> dict[str, float]:
    """Metrics on held-out episodes, in nats per modelled latent dimension.

    `nll` lies between two bounds: `marginal` (no memory at all) and `floor` (V's own posterior noise). `shuffled` is
    the nll with the actions of other sequences. `nats_per_step` is the NLL of all active dimensions of one step, which
    compares different kinds of M on the same V. `precision` and `recall` of the end are at probability 1/2;
    `calibration` is the number of predicted ends over the number of real ones.
    """
    streams = Streams(latents, batch_size, 48, seed=7)
    order = torch.randperm(batch_size, generator=generator(7, 0))
    active = torch.isin(torch.tensor(memory.modelled), torch.tensor(active_dimensions(latents)))  # (N,) of the modelled
    states = [memory.initial_state(batch_size) for _ in range(2)]
    nlls: list[list[Tensor]] = [[], []]
    nats: list[Tensor] = []
    predicted, real = [], []
    rewards: list[tuple[Tensor, Tensor]] = []  # (predicted, real)
    for index in range(min(max_batches, streams.batches_per_epoch)):
        batch = streams.batch(index, generator(7, index))
        shuffled = dataclasses.replace(batch, actions=batch.actions[:, order])
        for which, seen in enumerate((batch, shuffled)):
            prediction, states[which] = predict(memory, seen, states[which])
            nlls[which].append(losses(memory, prediction, seen)[0].cpu())
            if which == 0:
                nats.append(_active_nll(memory, prediction, batch, active))
                valid = (batch.has_next + batch.terminated) > 0
                if batch.rewards is not None:
                    rewards.append((prediction.reward.cpu()[valid], batch.rewards[valid]))
                predicted.append(memory.termination_probability(prediction.termination).cpu()[valid])
                real.append(batch.terminated[valid])
    probability, termination = torch.cat(predicted), torch.cat(real)
    sharp = probability > 0.5
    noise = latents.logvars[:, memory.modelled].float()
    hits = float((sharp * termination).sum())
    return {
        "nll": float(torch.stack(nlls[0]).mean()),
        "shuffled": float(torch.stack(nlls[1]).mean()),
        "nats_per_step": float(torch.stack(nats).mean()),
        "marginal": marginal_nll(latents, memory.modelled),
        "floor": 0.5 * (math.log(2 * math.pi) + 1 + float(noise.mean())) + math.log(latents.noise),
        "precision": hits / max(1.0, float(sharp.sum())),
        "recall": hits / max(1.0, float(termination.sum())),
        "calibration": float(probability.sum()) / max(1.0, float(termination.sum())),
    } | _of_rewards(rewards)


def _active_nll(memory: MDNRNN, prediction: Any, batch: SequenceBatch, active: Tensor) -> Tensor:
    """Mean NLL of the active dimensions of one step; of all dimensions where M has one mixture for all."""
    nll = memory.nll(prediction, batch.targets.to(memory.device)).cpu()  # (T, B, N) or (T, B, 1)
    nll = (nll[..., active] if nll.shape[-1] == len(active) else nll).sum(-1)  # (T, B)
    return (nll * batch.has_next).sum() / batch.has_next.sum().clamp_min(1)


@torch.no_grad()
def calibrate(memory: MDNRNN, latents: Latents) -> dict[str, float]:
    """Shift the bias of the end so that M predicts as many ends on held-out episodes as there are.

    M sees each end of its training episodes many times and memorises some of them, so it predicts too few of others.
    Returns the shift (in logits) and the calibration after it; without held-out ends nothing changes.
    """
    logits, deaths = _ends(memory, latents)
    if float(deaths.sum()) == 0:
        return {}
    low, high = -5.0, 5.0
    for _ in range(40):
        shift = (low + high) / 2
        too_many = float(memory.termination_probability(logits + shift).sum()) > float(deaths.sum())
        low, high = (low, shift) if too_many else (shift, high)
    memory.head.bias[memory.termination_output] += shift
    return {"shift": shift, "calibration": float(memory.termination_probability(logits + shift).sum() / deaths.sum())}


def _ends(memory: MDNRNN, latents: Latents, batch_size: int = 64, max_batches: int = 96) -> tuple[Tensor, Tensor]:
    """Logits of the end and whether the episode ended, over held-out steps with the recorded latents as input."""
    streams, state = Streams(latents, batch_size, 48, seed=8), memory.initial_state(batch_size)
    logits, real = [], []
    for index in range(min(max_batches, streams.batches_per_epoch)):
        batch = streams.batch(index, generator(8, index))
        prediction, state = predict(memory, batch, state)
        valid = (batch.has_next + batch.terminated) > 0
        logits.append(prediction.termination.cpu()[valid])
        real.append(batch.terminated[valid])
    return torch.cat(logits), torch.cat(real)


def _of_rewards(rewards: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """`r2`, the share of the variance of rewards that M predicts, and `reward_ratio`, predicted over real sum."""
    if not rewards:
        return {}
    predicted, real = (torch.cat(side) for side in zip(*rewards, strict=True))
    return {
        "r2": 1 - float((predicted - real).square().mean() / real.var()),
        "reward_ratio": float(predicted.sum() / real.sum()),
    }


def marginal_nll(latents: Latents, dimensions: list[int], bins: int = 80) -> float:
    """Mean NLL of the given dimensions of latents under their own histograms: the best prediction without memory."""
    at = torch.randperm(len(latents.means), generator=generator(3, 0))[:20_000]
    drawn = latents.draw(at, generator(3, 1)).numpy()[:, dimensions]
    total = 0.0
    for column in drawn.T:
        counts, edges = np.histogram(column, bins)
        share = counts[counts > 0] / len(column)
        total -= float((share * np.log(share / (edges[1] - edges[0]))).sum())
    return total / drawn.shape[1]
