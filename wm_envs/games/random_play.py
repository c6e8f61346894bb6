"""Random play: actions that are held for a random time, because actions redrawn at every tick cancel out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wm_envs.games.base import Array, Task


def held_actions(task: Task, rng: np.random.Generator, holds: tuple[int, int] | None = None) -> Iterator[Array]:
    """Random play of one episode: the agent's action (A,) float32 for each tick, without end.

    Each action is held for low..high ticks, the range `holds`. By default the episode draws one of `RandomPlay.holds`.
    In half of the episodes no action is idle.
    """
    drawn = task.random_play.holds[rng.integers(len(task.random_play.holds))]
    low, high = holds or drawn
    idle = task.random_play.idle if rng.random() < 0.5 else ()
    choices = [index for index in range(len(task.actions.discrete)) if index not in idle]
    while True:
        action = np.array(task.actions.discrete[choices[rng.integers(len(choices))]], np.float32)
        for _ in range(int(rng.integers(low, high + 1))):
            yield action
