"""Recorded moments: M's state within recorded episodes, where dreams of PPO can begin.

They stand in a file beside the world of a round. The bundle itself holds the first moments only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.sequences import Latents
from training.infra.checkpoint import read_extra_state, read_tensors, save_tensors
from training.learning.optim import generator
from wm_envs.models.memory.base import Memory
from wm_envs.models.state import Recurrent, State
from wm_envs.models.world_model import WorldModel

NEAR_AN_END = 4  # steps before a recorded end, in which it may be certain, so no moment is there
MAX_EPISODES = 1024


@dataclass(frozen=True)
class Moments:
    """N recorded moments."""

    means: Tensor  # (N, Z) V's posterior
    logvars: Tensor  # (N, Z)
    recurrent: Recurrent  # M's recurrent state before the next step, each part (N, ...)
    ticks: Tensor  # (N,) int64 since the start of the episode
    progress: Tensor  # (N,) `State.progress`

    def save(self, path: Path, memory: Memory) -> None:
        """Write the file."""
        parts = dict(zip(memory.recurrent_shapes, self.recurrent, strict=True))
        tensors = {"means": self.means, "logvars": self.logvars, **parts}
        tensors = {name: value.cpu().half() for name, value in tensors.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(path, tensors | {"ticks": self.ticks, "progress": self.progress}, {})

    @classmethod
    def read(cls, path: Path, world: WorldModel) -> Self:
        """The moments of a world in a file; raises `BrokenStore`."""
        tensors, _ = read_tensors(path)
        count = len(tensors["ticks"]) if "ticks" in tensors else 0
        shapes = world.state_shapes(count)
        latents = shapes.pop("latents")
        found = read_extra_state(path, tensors, {"means": latents, "logvars": latents, **shapes})
        means, logvars, *recurrent, ticks, progress = (value.to(world.device) for value in found)
        return cls(means.float(), logvars.float(), tuple(part.float() for part in recurrent), ticks, progress)

    def draw(self, world: WorldModel, count: int, draw: torch.Generator) -> State:
        """The State of `count` dreams that begin at random moments, with z drawn from V's posterior."""
        which = torch.randint(len(self.ticks), (count,), generator=draw).to(world.device)
        normal = torch.randn(count, self.means.shape[1], generator=draw)
        latents = world.draw_latents(self.means[which], self.logvars[which], normal)
        return State(latents, tuple(part[which] for part in self.recurrent), self.ticks[which], self.progress[which])


@torch.no_grad()
def recorded_moments(memory: Memory, latents: Latents, burn_in: int, count: int = 4096) -> Moments:
    """At most `count` moments, as many of each of at most `MAX_EPISODES` episodes, uniform over the episode."""
    skip, draw = latents.frame_skip, generator(6, 0)
    episodes, steps = _choose(latents, burn_in // skip, count)
    starts = torch.from_numpy(latents.starts[episodes])
    rows, row = np.unique(episodes, return_inverse=True)  # those that M reads, and that of each moment
    needed = np.zeros(len(rows), np.int64)
    np.maximum.at(needed, row, steps)
    order = np.argsort(-needed, kind="stable")  # the longest first, so that those still needed come first
    place = np.argsort(order)[row]
    first = torch.from_numpy(latents.starts[rows[order]])
    state = memory.initial_state(len(rows))
    kept = [torch.zeros(len(steps), *part.shape[1:]) for part in state]
    for step in range(int(needed.max()) + 1):
        running = int((needed >= step).sum())
        state, here = tuple(part[:running] for part in state), steps == step
        for part, value in zip(kept, state, strict=True):
            part[torch.from_numpy(here)] = value[torch.from_numpy(place[here]).to(value.device)].cpu()
        at = first[:running] + step * skip
        ticks = torch.full((1, running), step * skip)
        progress = None if latents.progress is None else torch.from_numpy(latents.progress[at])[None]
        inputs = memory.assemble(latents.draw(at, draw)[None], latents.actions[at][None], ticks, progress=progress)
        _, state = memory(inputs.to(memory.device), state)
    ticks = torch.from_numpy(steps * skip)
    at = starts + ticks
    progress = torch.zeros(len(at)) if latents.progress is None else torch.from_numpy(latents.progress[at])
    return Moments(latents.means[at].float(), latents.logvars[at].float(), tuple(kept), ticks, progress)


def _choose(latents: Latents, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The episodes (N,) of the moments and their steps (N,), from `first` on; no moment twice."""
    rng, skip = np.random.default_rng(0), latents.frame_skip
    ended = latents.terminated[latents.starts + latents.lengths - 1]
    last = (latents.lengths - 1) // skip - NEAR_AN_END * ended
    long_enough = np.flatnonzero(latents.lengths > first * skip)
    episodes = np.resize(rng.permutation(long_enough)[:MAX_EPISODES], count)
    steps = rng.integers(first, np.maximum(last[episodes], first) + 1)
    chosen = np.unique(np.stack([episodes, steps]), axis=1)
    return chosen[0], chosen[1]
