"""M on recorded sequences: its predictions, losses, held-out metrics and calibration."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.sequences import Latents, SequenceBatch, Streams
from training.learning.optim import generator
from wm_envs.hardware import autocast
from wm_envs.models.memory.base import Memory
from wm_envs.models.memory.loss import reward_of_step
from wm_envs.models.state import Recurrent
from wm_envs.models.vision.loss import active_latents


@dataclass(frozen=True, kw_only=True)
class MemoryMetrics:
    """M on held-out episodes; likelihoods are in nats per modelled latent dimension.

    `nll` lies between two bounds: `marginal` and `floor`. Fields are None for games without rewards, and in files that
    are older than the field.
    """

    nll: float
    shuffled: float  # nll with the actions of other sequences
    nats_per_step: float | None = None  # nll of all active dimensions of a step; it compares kinds of M on the same V
    marginal: float  # nll without any memory
    floor: float  # nll of V's own posterior noise
    precision: float  # of the end, at probability 1/2
    recall: float
    calibration: float  # predicted over real number of ends
    r2: float | None = None  # explained share of the variance of rewards, where they vary
    reward_ratio: float | None = None  # predicted over real sum of rewards, where it is not 0
    reward_precision: float | None = None  # of events, where they are rare
    reward_recall: float | None = None
    shift: float | None = None  # of the end's bias, in logits; see `fit_end_bias`
    loss: float | None = None  # what training lowers, here on held-out episodes
    moving_nll: float | None = None  # nll of the dimensions that move most; see `moving_dimensions`
    moving_shuffled: float | None = None  # the same with the actions of other sequences: no higher if M ignores actions
    moving_copy: float | None = None  # nll of these dimensions when all that is known of them is their last value
    train_nll: float | None = None  # nll, loss and r2 on training episodes: better ones say that M overfits
    train_loss: float | None = None
    train_r2: float | None = None


def active_dimensions(latents: Latents) -> tuple[int, ...]:
    """The latent dimensions that V uses, most informative first; all if it uses none."""
    at = torch.randperm(len(latents.means), generator=generator(4, 0))[:50_000]
    active = active_latents(latents.means[at].float(), latents.logvars[at].float())
    return tuple(active or range(latents.means.shape[1]))


def losses(
    memory: Memory, prediction: Any, batch: SequenceBatch, reward_weight: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """`Memory.loss` of a prediction for a window."""
    device = prediction.termination.device
    rewards = None if batch.rewards is None else batch.rewards.to(device)
    return memory.loss(
        prediction, batch.targets.to(device), batch.terminated.to(device), batch.has_next.to(device),
        (batch.has_next + batch.terminated).to(device), rewards, reward_weight,
    )  # fmt: skip


def predict(memory: Memory, batch: SequenceBatch, state: Recurrent) -> tuple[Any, Recurrent]:
    """M's prediction for a window. A sequence that starts an episode with the window starts from zeros;
    within the window the restart flag tells M to forget, as in the paper."""
    device = memory.device
    keep = (1 - batch.restart[0])[:, None].to(device)
    state = tuple(part.to(device) * keep for part in state)
    inputs = memory.assemble(batch.latents, batch.actions, batch.ticks, batch.restart, batch.progress).to(device)
    with autocast(device):
        outputs, after = memory(inputs, state)
    prediction = memory.see_next(memory.split(outputs.float()), batch.targets.to(device))
    return prediction, tuple(part.float() for part in after)


@torch.no_grad()
def measure(
    memory: Memory, latents: Latents, reward_weight: float = 1.0, batch_size: int = 64, max_batches: int = 24
) -> MemoryMetrics:
    """The metrics of M on episodes: held-out ones, or those of its training. The loss has this `reward_weight`."""
    streams = Streams(latents, batch_size, 48, seed=7)
    order = torch.randperm(batch_size, generator=generator(7, 0))
    active = torch.isin(torch.tensor(memory.modelled), torch.tensor(active_dimensions(latents)))  # (N,) of the modelled
    moving = moving_dimensions(latents, memory.modelled)
    states = [memory.initial_state(batch_size) for _ in range(2)]
    found: dict[str, list[Tensor]] = defaultdict(list)
    predicted, real = [], []
    rewards: list[tuple[Tensor, Tensor]] = []  # (predicted, real)
    for index in range(min(max_batches, streams.batches_per_epoch)):
        batch = streams.batch(index, generator(7, index))
        other = dataclasses.replace(batch, actions=batch.actions[:, order])
        prediction, states[0] = predict(memory, batch, states[0])
        shuffled, states[1] = predict(memory, other, states[1])
        found["loss"].append(losses(memory, prediction, batch, reward_weight)[2].cpu())
        nlls = [memory.nll(said, batch.targets.to(memory.device)).cpu() for said in (prediction, shuffled)]
        for name, nll in zip(("nll", "shuffled"), nlls, strict=True):  # (T, B, N), or (T, B, 1) for all jointly
            found[name].append(_of_a_step(nll, batch) / len(memory.modelled))
            if nll.shape[-1] == len(moving):
                found[f"moving_{name}"].append(_of_a_step(nll[..., moving], batch) / int(moving.sum()))
        found["nats_per_step"].append(
            _of_a_step(nlls[0][..., active] if nlls[0].shape[-1] == len(active) else nlls[0], batch)
        )
        valid = (batch.has_next + batch.terminated) > 0
        ends = memory.termination_probability(prediction.termination)
        if batch.rewards is not None:
            rewards.append((reward_of_step(prediction, ends).cpu()[valid], batch.rewards[valid]))
        predicted.append(ends.cpu()[valid])
        real.append(batch.terminated[valid])
    probability, termination = torch.cat(predicted), torch.cat(real)
    sharp = probability > 0.5
    noise = latents.logvars[:, memory.modelled].float()
    hits = float((sharp * termination).sum())
    means = {name: float(torch.stack(values).mean()) for name, values in found.items()}
    return MemoryMetrics(
        **means | ({"moving_copy": copy_nll(latents, memory.modelled, moving)} if "moving_nll" in means else {}),
        marginal=marginal_nll(latents, memory.modelled),
        floor=0.5 * (math.log(2 * math.pi) + 1 + float(noise.mean())) + math.log(latents.noise),
        precision=hits / max(1.0, float(sharp.sum())),
        recall=hits / max(1.0, float(termination.sum())),
        calibration=float(probability.sum()) / max(1.0, float(termination.sum())),
        **_reward_metrics(rewards),
    )


def with_training(held_out: MemoryMetrics, training: MemoryMetrics) -> MemoryMetrics:
    """The metrics on held-out episodes, with some of those on training episodes beside them."""
    return dataclasses.replace(held_out, train_nll=training.nll, train_loss=training.loss, train_r2=training.r2)


def _of_a_step(nll: Tensor, batch: SequenceBatch) -> Tensor:
    """NLL (T, B, n) of n dimensions together, mean over the steps that have a next one."""
    return (nll.sum(-1) * batch.has_next).sum() / batch.has_next.sum().clamp_min(1)


@torch.no_grad()
def fit_end_bias(memory: Memory, latents: Latents) -> dict[str, float]:
    """Shift the bias of the end so that M predicts as many ends on held-out episodes as there are.

    M sees each end of its training episodes many times and memorises some of them, so it predicts too few of others.
    Returns the metrics `shift` and `calibration` after it; without held-out ends nothing changes.
    """
    logits, deaths = _ends(memory, latents)
    if float(deaths.sum()) == 0:
        return {}
    low, high = -5.0, 5.0
    for _ in range(40):
        shift = (low + high) / 2
        too_many = float(memory.termination_probability(logits + shift).sum()) > float(deaths.sum())
        low, high = (low, shift) if too_many else (shift, high)
    memory.shift_termination(shift)
    return {"shift": shift, "calibration": float(memory.termination_probability(logits + shift).sum() / deaths.sum())}


def _ends(memory: Memory, latents: Latents, batch_size: int = 64, max_batches: int = 96) -> tuple[Tensor, Tensor]:
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


EVENT = 0.5  # a reward that differs from the usual one by more than this is an event; in M's unit
USUAL_SHARE = 0.1  # of steps with an event, from which rewards have the weight 1
MAX_REWARD_WEIGHT = 30.0


def is_event(rewards: Tensor, usual: Tensor) -> Tensor:
    """Whether each reward is an event: it differs from the `usual` one, the median, by more than `EVENT`."""
    return (rewards - usual).abs() > EVENT


def reward_weight(rewards: np.ndarray[Any, Any] | None) -> float:
    """The loss weight of rewards (N,), in M's unit: more than 1 where events are rare, or M would forget them."""
    if rewards is None:
        return 1.0
    values = torch.from_numpy(rewards)
    share = float(is_event(values, values.median()).float().mean())
    return 1.0 if share == 0 else min(MAX_REWARD_WEIGHT, max(1.0, USUAL_SHARE / share))


def _reward_metrics(rewards: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """The metrics of (predicted, real) rewards that have a value for them."""
    if not rewards:
        return {}
    predicted, real = (torch.cat(side) for side in zip(*rewards, strict=True))
    metrics = {}
    if float(real.var()) > 1e-6:
        metrics["r2"] = 1 - float((predicted - real).square().mean() / real.var())
    if abs(float(real.sum())) > 1e-6:
        metrics["reward_ratio"] = float(predicted.sum() / real.sum())
    usual = real.median()
    events, predicted_events = is_event(real, usual), is_event(predicted, usual)
    if 0 < float(events.float().mean()) < USUAL_SHARE:
        hits = float((events & predicted_events).sum())
        metrics["reward_precision"] = hits / max(1.0, float(predicted_events.sum()))
        metrics["reward_recall"] = hits / max(1.0, float(events.sum()))
    return metrics


MOVING = 0.2  # share of the modelled dimensions that count as moving


def moving_dimensions(latents: Latents, modelled: list[int]) -> Tensor:
    """Which of the modelled dimensions (N,) move most: the top share by their squared change over a step, relative to
    V's noise. Most latents of a grid are background, in which a good M and one that only copies hardly differ."""
    at = _steps(latents)
    after = at + latents.frame_skip
    change = (latents.means[after].float() - latents.means[at].float()).square().mean(0)
    noise = latents.logvars[at].float().exp().mean(0)
    score = (change / noise)[modelled]
    chosen = torch.zeros(len(modelled), dtype=torch.bool)
    chosen[score.topk(max(1, round(MOVING * len(modelled)))).indices] = True
    return chosen


def copy_nll(latents: Latents, modelled: list[int], chosen: Tensor) -> float:
    """Mean NLL of the chosen modelled dimensions as the last value and a change with the histogram of all changes."""
    at, draw = _steps(latents), generator(3, 3)
    change = latents.draw(at + latents.frame_skip, draw) - latents.draw(at, draw)
    return _histogram_nll(change[:, modelled][:, chosen].numpy())


def _steps(latents: Latents, most: int = 20_000) -> Tensor:
    """Random ticks (n,) that have a next step."""
    at = torch.from_numpy(latents.has_next).nonzero()[:, 0]
    return at[torch.randperm(len(at), generator=generator(3, 2))[:most]]


def marginal_nll(latents: Latents, dimensions: list[int]) -> float:
    """Mean NLL of the given dimensions of latents under their own histograms: the best prediction without memory."""
    at = torch.randperm(len(latents.means), generator=generator(3, 0))[:20_000]
    return _histogram_nll(latents.draw(at, generator(3, 1)).numpy()[:, dimensions])


def _histogram_nll(drawn: np.ndarray[Any, Any], bins: int = 80) -> float:
    """Mean NLL of the columns of `drawn` (n, N), each under its own histogram."""
    total = 0.0
    for column in drawn.T:
        counts, edges = np.histogram(column, bins)
        share = counts[counts > 0] / len(column)
        total -= float((share * np.log(share / (edges[1] - edges[0]))).sum())
    return total / drawn.shape[1]
