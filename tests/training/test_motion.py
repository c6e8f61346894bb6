"""The length of a step follows from how far things move."""

import itertools
from typing import Any

import numpy as np
import pytest

from training.judging.motion import Motion, measure_motion, random_pieces
from wm_envs.games.base import Array, Tick
from wm_envs.games.registry import TASKS


class Slider:
    """A game in which a square moves `speed` pixels a tick."""

    def __init__(self, speed: float) -> None:
        self.speed, self.finished = speed, False

    def picture(self) -> Any:
        frame = np.full((64, 64, 3), 40, np.uint8)
        at = int(8 + self.ticks * self.speed) % 44
        frame[20:28, at : at + 8] = (220, 90, 60)
        return frame

    def reset(self, seed: int) -> Any:
        self.ticks = 0
        return self.picture()

    def advance(self, action: Array, ticks: int) -> Tick:
        self.ticks += ticks
        return Tick(self.picture(), 1.0, self.ticks >= 120, ticks)

    def close(self) -> None: ...


@pytest.mark.parametrize(("speed", "skip"), [(0.25, 4), (0.5, 4), (1.0, 2), (2.0, 1), (5.0, 1), (0.0, 1)])
def test_a_step_takes_about_two_pixels(speed: float, skip: int) -> None:
    motion = measure_motion(random_pieces(Slider(speed), TASKS["takecover"], itertools.count(), 300))
    assert motion.pixels == pytest.approx(speed, rel=0.1) and motion.frame_skip == skip


@pytest.mark.parametrize(("ticks", "skip"), [(200, 4), (30, 3), (9, 1)])
def test_a_short_episode_has_steps(ticks: float, skip: int) -> None:
    assert Motion(pixels=0.2, episode_ticks=ticks).frame_skip == skip
