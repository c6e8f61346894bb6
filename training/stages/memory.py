"""Stage 3, memory: encode the store with V, train M on it, and write the world bundle."""

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
from training.data.latent_cache import encode_store, read_vision, weights_hash
from training.data.sequences import Latents, SequenceBatch, Streams, join
from training.infra.checkpoint import load_checkpoint, read_extra_state, save_checkpoint, start_from
from training.infra.optim import clip_gradients, generator, one_cycle, total_loss
from training.infra.options import check_run_options, count, not_negative, positive, read_record, stage_option
from training.infra.pool import Workers
from training.infra.progress import Progress
from wm_envs.errors import InvalidOption
from wm_envs.files import file_lock, write_text
from wm_envs.games.base import Task
from wm_envs.games.registry import get_task
from wm_envs.hardware import best_device, compute_dtype
from wm_envs.models.bundle import save_world
from wm_envs.models.mdn_rnn import MDNRNN, MDNRNNConfig, memory_loss
from wm_envs.models.state import Recurrent
from wm_envs.models.vae import ConvVAE, ConvVAEConfig
from wm_envs.models.world_model import WorldConfig, WorldModel


@dataclass
class MemoryOptions:
    """Train M on V's latents of RUN/rollouts; the result is RUN/memory.safetensors and RUN/world."""

    run: Path = stage_option("runs/takecover", "run folder")
    task: str = stage_option("takecover", "which game")
    store: str = stage_option("", "folder of the rollouts (default: RUN/rollouts); the latents are kept beside it")
    vision: str = stage_option("", "folder of the V that sees (default: RUN)", True)
    rounds: int = stage_option(0, "rounds of play to learn from, from the first on (0: all that are there)", True)
    frame_skip: int = stage_option(4, "ticks in a step of M (the paper: 1)", True)
    posterior_noise: float = stage_option(1.0, "share of V's posterior noise in the latents (the paper: 1)", True)
    hidden: int = stage_option(0, "H (0: the paper's for this game)", True)
    mixtures: int = stage_option(5, "K", True)
    joint: bool = stage_option(False, "one component for all of z, instead of the paper's one a dimension", True)
    steps: int = stage_option(30_000_000, "steps to train on", True)
    batch_size: int = stage_option(256, "sequences in a batch", True)
    sequence_length: int = stage_option(48, "steps back-propagated through", True)
    learning_rate: float = stage_option(1.5e-3, "peak of the schedule", True)
    latent_dropout: float = stage_option(
        0.0, "share of steps whose latents M is not shown while it learns (the paper: 0)", True
    )
    start: str = stage_option("", "weights to go on from: a memory.safetensors, or a world", True, path=True)
    seed: int = stage_option(0, "of the weights, the order and the noise", True)
    calibrate: bool = stage_option(True, "shift the bias of death so that held-out ones are foretold", True)
    checkpoint_every: int = stage_option(200, "batches between checkpoints")
    workers: int = stage_option(0, "processes that encode the store (0: one a core)")


def main(options: MemoryOptions) -> dict[str, Any]:
    """Train, or go on training, M, measure it on held-out episodes, and write the bundle."""
    for name in ("frame_skip", "mixtures", "steps", "batch_size", "sequence_length", "checkpoint_every"):
        count(name, getattr(options, name))
    count("hidden", options.hidden, 0)
    positive("learning_rate", options.learning_rate)
    positive("posterior_noise", options.posterior_noise)
    if not_negative("latent_dropout", options.latent_dropout) >= 1:
        raise InvalidOption(
            "latent_dropout", options.latent_dropout, "a share from 0 to below 1", "give --latent-dropout 0.2, say"
        )
    for name in ("rounds", "seed", "workers"):
        count(name, getattr(options, name), 0)
    run, task = Path(options.run), get_task(options.task)
    options = dataclasses.replace(options, hidden=options.hidden or task.hidden)
    store = RolloutStore(Path(options.store) if options.store else run / "rollouts", options.task, options.rounds)
    vision = load_vision(Path(options.vision) if options.vision else run)
    known = dataclasses.replace(options, vision=weights_hash(vision)[:16])
    with (
        file_lock(run / "memory"),
        check_run_options(run / "memory.json", known),
    ):  # whose latents they are, not where V was
        return _make(run, task, store, vision, options)


def _make(run: Path, task: Task, store: RolloutStore, vision: ConvVAE, options: MemoryOptions) -> dict[str, Any]:
    """Encode the store, train, calibrate, write the bundle."""
    weights = (Path(options.vision) if options.vision else run) / "vision.safetensors"
    workers = Workers(options.workers if best_device().type == "cpu" else 1)  # a GPU serves one process best
    encoded = encode_store(vision, weights, store.parts, store.folder.parent / "latents", run, workers)
    by_index = {part.index: latents for part, latents in zip(store.parts, encoded, strict=True)}
    training, held_out = (
        join(
            parts,
            [by_index[part.index] for part in parts],
            options.frame_skip,
            options.posterior_noise,
            None if task.survival else task.reward_scale,
        )
        for parts in store.split()
    )
    del encoded, by_index
    torch.manual_seed(options.seed)
    config = MDNRNNConfig(
        vision.config.latent, task.action_size, options.hidden, options.mixtures, options.joint,
        reward=not task.survival,
    )  # fmt: skip
    memory = MDNRNN(config).to(best_device())
    metrics = train(memory, training, held_out, options)
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
    save_world(run / "world", world, {"memory": metrics})
    write_text(run / "memory_metrics.json", json.dumps(metrics))
    return metrics


def load_vision(run: Path) -> ConvVAE:
    """The V that was trained in `run`."""
    path = run / "vision.safetensors"
    latent = count("latent", read_record(run / "vision.json").get("latent")) if path.exists() else 1
    return read_vision(path, ConvVAEConfig(latent))


@torch.no_grad()
def initial_states(memory: MDNRNN, latents: Latents, burn_in: int, most: int = 1024) -> list[Tensor]:
    """Where dreams start: means and logvars (N, Z) of the first frames of `most` episodes, or of those `burn_in`
    ticks later, and then M's h and c (N, H) after what was recorded until there."""
    starts = torch.from_numpy(latents.starts[latents.lengths > burn_in][:most])
    state, draw = memory.initial_state(len(starts)), generator(5, 0)
    for at in range(0, burn_in, latents.frame_skip):
        restart = torch.full((1, len(starts)), float(at == 0))
        seen = latents.draw(starts + at, draw)[None]
        _, state = memory(memory.assemble(seen, latents.actions[starts + at][None], restart).to(memory.device), state)
    found = [latents.means[starts + burn_in].float(), latents.logvars[starts + burn_in].float()]
    return [*found, *state] if burn_in else found


def train(memory: MDNRNN, training: Latents, held_out: Latents, options: MemoryOptions) -> dict[str, float]:
    """Train to `options.steps`, with checkpoints; returns the held-out metrics at the end."""
    run = Path(options.run)
    path = run / "memory.safetensors"
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
    with Progress("memory", batches, run, "batches") as progress:
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
    """The window with the latents of a random share of its steps put to zero.

    In a dream M sees its own draws, and a fireball that is half drawn is easily forgotten. An M that
    is now and then shown nothing learns to remember what was there.
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
    """M's prediction for a window. A lane that starts an episode with the window starts from zeros;
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
def measure(memory: MDNRNN, latents: Latents, batch_size: int = 64, most: int = 24) -> dict[str, float]:
    """Held-out figures, per latent dimension in nats.

    nll beside its two bounds: `marginal` (no memory at all) and `floor` (V's own posterior noise);
    `shuffled` is the nll with the actions of other lanes; death's precision and recall at
    probability 1/2, and `calibration`, the deaths foretold over those that came.
    """
    streams = Streams(latents, batch_size, 48, seed=7)
    order = torch.randperm(batch_size, generator=generator(7, 0))
    states = [memory.initial_state(batch_size) for _ in range(2)]
    nlls: list[list[Tensor]] = [[], []]
    foretold, came = [], []
    rewards: list[tuple[Tensor, Tensor]] = []  # (foretold, came)
    for index in range(min(most, streams.batches_per_epoch)):
        batch = streams.batch(index, generator(7, index))
        shuffled = dataclasses.replace(batch, actions=batch.actions[:, order])
        for which, seen in enumerate((batch, shuffled)):
            prediction, states[which] = predict(memory, seen, states[which])
            nlls[which].append(losses(memory, prediction, seen)[0].cpu())
            if which == 0:
                valid = (batch.has_next + batch.terminated) > 0
                if batch.rewards is not None:
                    rewards.append((prediction.reward.cpu()[valid], batch.rewards[valid]))
                foretold.append(memory.termination_probability(prediction.termination).cpu()[valid])
                came.append(batch.terminated[valid])
    probability, termination = torch.cat(foretold), torch.cat(came)
    sharp = probability > 0.5
    hits = float((sharp * termination).sum())
    return {
        "nll": float(torch.stack(nlls[0]).mean()),
        "shuffled": float(torch.stack(nlls[1]).mean()),
        "marginal": marginal_nll(latents),
        "floor": 0.5 * (math.log(2 * math.pi) + 1 + float(latents.logvars.float().mean())) + math.log(latents.noise),
        "precision": hits / max(1.0, float(sharp.sum())),
        "recall": hits / max(1.0, float(termination.sum())),
        "calibration": float(probability.sum()) / max(1.0, float(termination.sum())),
    } | _of_rewards(rewards)


@torch.no_grad()
def calibrate(memory: MDNRNN, latents: Latents) -> dict[str, float]:
    """Shift the bias of the end so that as many deaths are foretold on held-out episodes as came.

    M sees each death of its training episodes many times and learns some of them by heart, so it foretells too few of
    others. Returns the shift (in logits) and the calibration after it; nothing is done where none died.
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


def _ends(memory: MDNRNN, latents: Latents, batch_size: int = 64, most: int = 96) -> tuple[Tensor, Tensor]:
    """Logits of the end and whether it came, over held-out steps fed with what really happened."""
    streams, state = Streams(latents, batch_size, 48, seed=8), memory.initial_state(batch_size)
    logits, came = [], []
    for index in range(min(most, streams.batches_per_epoch)):
        batch = streams.batch(index, generator(8, index))
        prediction, state = predict(memory, batch, state)
        valid = (batch.has_next + batch.terminated) > 0
        logits.append(prediction.termination.cpu()[valid])
        came.append(batch.terminated[valid])
    return torch.cat(logits), torch.cat(came)


def _of_rewards(rewards: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """`r2`, the share of the variance of rewards that was foretold, and `reward_ratio`, their sum over what came."""
    if not rewards:
        return {}
    foretold, came = (torch.cat(side) for side in zip(*rewards, strict=True))
    return {
        "r2": 1 - float((foretold - came).square().mean() / came.var()),
        "reward_ratio": float(foretold.sum() / came.sum()),
    }


def marginal_nll(latents: Latents, bins: int = 80) -> float:
    """NLL a dimension of latents under their own histogram: what can be known without memory."""
    at = torch.randperm(len(latents.means), generator=generator(3, 0))[:20_000]
    drawn = latents.draw(at, generator(3, 1)).numpy()
    total = 0.0
    for column in drawn.T:
        counts, edges = np.histogram(column, bins)
        share = counts[counts > 0] / len(column)
        total -= float((share * np.log(share / (edges[1] - edges[0]))).sum())
    return total / drawn.shape[1]
