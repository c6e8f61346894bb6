"""Sequences to train M: V's latents of a store, in steps of `frame_skip` ticks.

An episode gives `frame_skip` sequences, one for each phase p = 0 .. frame_skip - 1: the steps at ticks p,
p + frame_skip, ... A step holds the latent at its first tick, the mean action of its ticks, and whether the game
terminated during them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.episode_store import Part
from wm_envs.games.base import Task
from wm_envs.models.vision.base import draw_latents


@dataclass(frozen=True)
class Latents:
    """Latents and steps of N ticks. Index t of an array (N, ...) is one tick of one episode."""

    means: Tensor  # (N, Z) float16
    logvars: Tensor  # (N, Z) float16
    actions: Tensor  # (N, A) float32, mean over the step that starts at t
    has_next: NDArray[np.bool_]  # (N,) the episode has a tick t + frame_skip, which gives the next latent
    terminated: NDArray[np.bool_]  # (N,) the game terminated during the step
    starts: NDArray[np.int64]  # (E,) first tick of each episode
    lengths: NDArray[np.int64]  # (E,)
    frame_skip: int
    noise: float = 1.0  # factor on V's posterior standard deviation; see WorldConfig.posterior_noise
    rewards: NDArray[np.float32] | None = None  # (N,) sum over the step that starts at t, divided by reward_scale
    progress: NDArray[np.float32] | None = None  # (N,) `State.progress` at t; None: 0

    def draw(self, ticks: Tensor, generator: torch.Generator) -> Tensor:
        """Latents (n, Z) float32 at `ticks` (n,), drawn from V's posterior."""
        mean, logvar = self.means[ticks].float(), self.logvars[ticks].float()
        return draw_latents(mean, logvar, self.noise, torch.randn(mean.shape, generator=generator))


def join(
    parts: list[Part], encoded: list[tuple[Tensor, Tensor]], frame_skip: int, noise: float = 1.0,
    reward_scale: float | None = None, task: Task | None = None,
) -> Latents:  # fmt: skip
    """Concatenate all parts, and compute their steps of `frame_skip` ticks.

    `encoded` holds V's (means, logvars) of each part. Rewards are divided by `reward_scale`; None omits them. With a
    `task`, which has a goal, the progress towards it is computed from the rewards.
    """
    lengths = np.concatenate([part.lengths for part in parts]).astype(np.int64)
    terminated = np.concatenate([part.terminated for part in parts])
    stops = np.cumsum(lengths)
    total = int(stops[-1])
    tick = np.arange(total)
    stop = np.repeat(stops, lengths)  # (N,) the end of each tick's episode
    after = np.minimum(tick + frame_skip, stop)
    actions = _sums(np.concatenate([part.actions for part in parts]), tick, after) / (after - tick)[:, None]
    rewards = None
    if reward_scale is not None:
        of_ticks = np.concatenate([part.rewards for part in parts])[:, None]
        rewards = (_sums(of_ticks, tick, after)[:, 0] / reward_scale).astype(np.float32)
    return Latents(
        means=torch.cat([means for means, _ in encoded]),
        logvars=torch.cat([logvars for _, logvars in encoded]),
        actions=torch.from_numpy(actions.astype(np.float32)),
        has_next=tick + frame_skip < stop,
        terminated=(tick + frame_skip >= stop) & np.repeat(terminated, lengths),
        starts=stops - lengths,
        lengths=lengths,
        frame_skip=frame_skip,
        noise=noise,
        rewards=rewards,
        progress=None if task is None else progress_of(task, parts),
    )


def progress_of(task: Task, parts: list[Part]) -> NDArray[np.float32]:
    """`State.progress` (N,) before every tick: the share of `task.rewards.goal` earned so far in its episode."""
    found = []
    for part in parts:
        assert part.rewards is not None
        earned = task.rewards.earned(part.rewards, 1)
        before = np.cumsum(earned, dtype=np.float64) - earned
        starts = np.cumsum(part.lengths) - part.lengths
        found.append((before - np.repeat(before[starts], part.lengths)) / task.rewards.goal)
    return np.concatenate(found).clip(0, 1).astype(np.float32)


def reward_unit(task: Task, parts: list[Part], frame_skip: int) -> float:
    """The unit of M's rewards: `Rewards.scale`, or, if that is 0, the root mean square of the sums over
    `frame_skip` ticks that are not 0."""
    if task.rewards.scale:
        return task.rewards.scale
    sums = []
    for part in parts:
        assert part.rewards is not None
        stops = np.repeat(np.cumsum(part.lengths), part.lengths)
        tick = np.arange(part.size)
        sums.append(_sums(part.rewards[:, None], tick, np.minimum(tick + frame_skip, stops))[:, 0])
    paid = np.concatenate(sums)
    paid = paid[np.abs(paid) > 1e-9]
    return float(np.sqrt(np.square(paid).mean())) if len(paid) else 1.0


def _sums(values: NDArray[np.float32], start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of `values` (N, A) over start[i] <= t < stop[i], (N, A)."""
    running = np.cumsum(values, axis=0, dtype=np.float64)
    running = np.concatenate([np.zeros_like(running[:1]), running])
    return running[stop] - running[start]


@dataclass(frozen=True)
class SequenceBatch:
    """T steps of B rows; floats."""

    latents: Tensor  # (T, B, Z)
    actions: Tensor  # (T, B, A)
    restart: Tensor  # (T, B) 1 on the first step of a sequence
    ticks: Tensor  # (T, B) ticks since the start of the sequence
    targets: Tensor  # (T, B, Z) next latents; meaningless where has_next is 0
    has_next: Tensor  # (T, B)
    terminated: Tensor  # (T, B)
    rewards: Tensor | None = None  # (T, B) if M predicts them
    progress: Tensor | None = None  # (T, B) `State.progress`, if M sees it


class Streams:
    """Shuffled sequences, concatenated in B = `batch_size` rows, read in windows of T = `steps` steps.

    Window w depends only on (seed, w), so a run can be resumed at any window.
    """

    def __init__(self, latents: Latents, batch_size: int, steps: int, seed: int) -> None:
        self.latents, self.batch_size, self.steps, self.seed = latents, batch_size, steps, seed
        sequences = self._sequences()
        self._sizes = -(-(latents.lengths[sequences[:, 0]] - sequences[:, 1]) // latents.frame_skip)
        self.batches_per_epoch = max(1, int(self._sizes.sum()) // (batch_size * steps))
        self._epoch = -1
        self._layout: tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]] | None = None

    def _sequences(self) -> NDArray[np.int64]:
        """(S, 2): episode and phase of every sequence with at least one step."""
        episodes = np.arange(len(self.latents.lengths))
        pairs = [
            np.stack([episodes[self.latents.lengths > phase], np.full((self.latents.lengths > phase).sum(), phase)], 1)
            for phase in range(self.latents.frame_skip)
        ]
        return np.concatenate(pairs)

    def _lay_out(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Of one epoch: index of each tick in the data, restart flags, ticks since the start of the sequence.

        (B, batches_per_epoch * T) each.
        """
        if self._layout is None or epoch != self._epoch:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self._sizes))
            sequences, sizes = self._sequences()[order], self._sizes[order]
            firsts = np.cumsum(sizes) - sizes
            within = np.arange(int(sizes.sum())) - np.repeat(firsts, sizes)
            first_tick = self.latents.starts[sequences[:, 0]] + sequences[:, 1]
            ticks = np.repeat(first_tick, sizes) + within * self.latents.frame_skip
            length = self.batches_per_epoch * self.steps
            ticks = np.resize(ticks, self.batch_size * length).reshape(self.batch_size, length)
            elapsed = np.resize(within * self.latents.frame_skip, ticks.shape)
            restart = elapsed == 0
            restart[:, 0] = True  # a row may begin within a sequence, without the state of its earlier steps
            self._epoch, self._layout = epoch, (ticks, restart, elapsed)
        return self._layout

    def batch(self, index: int, draw: torch.Generator) -> SequenceBatch:
        """Window `index`, with new latents drawn from V's posterior."""
        epoch, at = divmod(index, self.batches_per_epoch)
        columns = slice(at * self.steps, (at + 1) * self.steps)
        ticks, restart, elapsed = (part[:, columns].T for part in self._lay_out(epoch))  # (T, B)
        data = self.latents
        # The next step of a row gives the next latent, except at the end of an episode or of the window.
        following = np.where(data.has_next[ticks], ticks + data.frame_skip, ticks)
        last = torch.from_numpy(following[-1])
        now = torch.from_numpy(np.ascontiguousarray(ticks))
        drawn = data.draw(torch.cat([now.flatten(), last]), draw).unflatten(0, (self.steps + 1, self.batch_size))
        return SequenceBatch(
            latents=drawn[:-1],
            actions=data.actions[now],
            restart=torch.from_numpy(np.ascontiguousarray(restart)).float(),
            ticks=torch.from_numpy(np.ascontiguousarray(elapsed)),
            progress=None if data.progress is None else torch.from_numpy(data.progress[ticks]),
            targets=drawn[1:],
            has_next=torch.from_numpy(data.has_next[ticks]).float(),
            terminated=torch.from_numpy(data.terminated[ticks]).float(),
            rewards=None if data.rewards is None else torch.from_numpy(data.rewards[ticks]),
        )
