"""Counts the frames of a Gymnasium game that a command plays, in all of its processes, by the kind of their seeds.

`WM_ENVS_IMPORT=benchmarks.count_frames WM_ENVS_COUNTS=FOLDER python -m training run --env ID` counts those of a run:
every process that opens the game imports this module, and adds to a file of its own in FOLDER.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from wm_envs import seeds
from wm_envs.games.base import Array, Frame, Tick
from wm_envs.games.gym_env.game import GymGame

FOLDER = "WM_ENVS_COUNTS"
KINDS = {
    "looks": seeds.PLAY,  # when the environment is described, and for the preview
    "validation": seeds.VALIDATION,  # of controllers, and what fidelity compares with
    "experiments": seeds.EXPERIMENTS,
    "test": seeds.TEST,
    "collected": seeds.COLLECTION,
    "training": seeds.GAME_TRAINING,
    "collected later": seeds.LATER_COLLECTION,
}


def count_in(folder: Path) -> None:
    """Count the ticks of all games of this process. The file has the counts also when the process is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = np.memmap(folder / f"{os.getpid()}-{time.time_ns()}", np.int64, "w+", shape=(len(KINDS),))
    reset, advance = GymGame.reset, GymGame.advance

    def counted_reset(game: GymGame, seed: int) -> Frame:
        game.kind_of_seed = next(at for at, kind in enumerate(KINDS.values()) if seed in kind)  # type: ignore[attr-defined]
        return reset(game, seed)

    def counted_advance(game: GymGame, action: Array, ticks: int) -> Tick:
        tick = advance(game, action, ticks)
        counts[game.kind_of_seed] += tick.ticks  # type: ignore[attr-defined]
        return tick

    GymGame.reset, GymGame.advance = counted_reset, counted_advance  # type: ignore[method-assign]


def counted(folder: Path) -> dict[str, int]:
    """The sums of all processes, by the kind of seed."""
    files = [np.fromfile(path, np.int64) for path in folder.glob("*-*")]
    sums = np.sum([np.zeros(len(KINDS), np.int64), *files], axis=0)
    return dict(zip(KINDS, sums.tolist(), strict=True))


if os.environ.get(FOLDER):
    count_in(Path(os.environ[FOLDER]))
