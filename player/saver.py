"""Saving what a player does in the real game as episodes of a run, from which V and M can learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wm_envs.errors import MissingPackage
from wm_envs.games.base import Array, Task, Tick

if TYPE_CHECKING:
    from training.data.episode_store import Episode

SHORTEST = 1.0  # seconds; a shorter episode that did not end by itself is not worth a part


class EpisodeSaver:
    """Writes every real episode as a part of the store in RUN/rollouts, in a round of its own.

    Raises `MissingPackage` without the extra 'train', and `InvalidOption` if the store is that of another game.
    """

    def __init__(self, run: str | Path, task: Task) -> None:
        try:
            from training.data.episode_store import next_round, read_part
        except ImportError as error:
            fix = "pip install 'wm-envs[train]'"
            raise MissingPackage("save", f"no package {error.name!r}", "the extra 'train'", fix) from error
        self.folder, self.task = Path(run) / "rollouts", task
        for part in sorted(self.folder.glob("part-*.zarr"))[:1]:
            read_part(part, task.name)
        self._first = next_round(self.folder)
        self.saved = 0  # episodes
        self._clear()

    def _clear(self) -> None:
        self._frames: list[NDArray[np.uint8]] = []
        self._actions: list[Array] = []
        self._rewards: list[float] = []

    def begin(self, frame: NDArray[np.uint8]) -> None:
        """An episode begins with this frame; one that is still under way is saved as it is."""
        self.finish()
        self._frames = [frame.copy()]

    def add(self, action: Array, tick: Tick) -> None:
        """A tick was played with the game's `action`; an episode that ends with it is saved."""
        self._actions.append(np.array(action, np.float32))
        self._rewards.append(tick.reward)
        if tick.frame is not None:
            self._frames.append(tick.frame.copy())
        if tick.over:
            self._write(tick.terminated)

    def finish(self) -> None:
        """Save the episode that is under way, unless it is too short."""
        if len(self._actions) >= SHORTEST * self.task.timing.ticks_per_second:
            self._write(terminated=False)
        self._clear()

    def _write(self, terminated: bool) -> None:
        from training.data.episode_store import write_part

        attributes = {"task": self.task.name, "seed": 0, "round": 0, "behaviour": "player"}
        write_part(self.folder, self._first + self.saved, [self._episode(terminated)], attributes)
        self.saved += 1
        self._clear()

    def _episode(self, terminated: bool) -> Episode:
        from training.data.episode_store import Episode

        count = min(len(self._actions), self.task.timing.tick_limit)
        rewards = None if self.task.rewards.survival else np.array(self._rewards[:count], np.float32)
        return Episode(np.stack(self._frames[:count]), np.stack(self._actions[:count]), terminated, rewards)
