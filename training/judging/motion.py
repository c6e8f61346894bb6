"""How far things move in a game, and the length of M's step that follows from it.

M learns from one step to the next. Where things move less than a pixel in a step, an action changes nothing that V
shows, and M learns to ignore actions; where a step is long, C acts too seldom. So a step takes about two pixels of
movement, and a short episode still has ten steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.acting.rollout import random_frames
from training.data.episode_store import Part
from wm_envs.games.base import Frame, Game, Task

LAGS = (2, 4)  # ticks between compared frames; the longer one is for slow games, whose moves are parts of a pixel
CHANGED = 25 / 255  # of a channel, from which a pixel counts as changed
HALF, REACH = 3, 10  # pixels: half the side of a patch, and how far a patch is searched
PATCHES = 6  # of a pair of frames
FOUND = 0.35  # share of the difference in place that a patch may differ from where it was before
STEP_PIXELS, STEPS_AN_EPISODE, MAX_SKIP = 2.0, 10, 4


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What moves in random play."""

    pixels: float  # the median distance that a patch moves in a tick; 0: nothing moves
    episode_ticks: float  # the median length of an episode, cut off where the measurement stopped

    @property
    def frame_skip(self) -> int:
        """The ticks of M's step."""
        if self.pixels == 0:
            return 1
        longest = min(MAX_SKIP, self.episode_ticks // STEPS_AN_EPISODE)
        return int(np.clip(round(STEP_PIXELS / self.pixels), 1, max(1, longest)))


def measure_motion(episodes: Iterable[Sequence[Frame] | NDArray[np.uint8]]) -> Motion:
    """The motion in episodes, or their first parts."""
    rng, lengths = np.random.default_rng(0), list[int]()
    distances: dict[int, list[float]] = {lag: [] for lag in LAGS}
    for frames in episodes:
        lengths.append(len(frames))
        for lag in LAGS:
            for at in range(0, len(frames) - lag, 3):
                distances[lag] += moved(frames[at], frames[at + lag], rng)
    return Motion(pixels=_pixels(distances), episode_ticks=float(np.median(lengths)))


def random_pieces(game: Game, task: Task, seeds: Iterator[int], frames: int) -> Iterator[list[Frame]]:
    """Episodes of random play, until they have so many frames; the last one is cut off."""
    while frames > 0:
        piece = list(itertools.islice(random_frames(game, task, next(seeds)), frames))
        frames -= len(piece)
        yield piece


def recorded_pieces(part: Part, frames: int) -> Iterator[NDArray[np.uint8]]:
    """The first episodes of a part of a store, until they have so many frames; the last one is cut off."""
    start = 0
    for length in part.lengths.tolist():
        if start < frames:
            yield part.read(start, min(start + length, frames))
        start += length


def _pixels(distances: dict[int, list[float]]) -> float:
    """The median distance in a tick; over the longer lag where things move a pixel a tick or less."""
    medians = {lag: float(np.median(found)) / lag for lag, found in distances.items() if found}
    short, long = (medians.get(lag, 0.0) for lag in LAGS)
    return short if short > 1 else long


def moved(before: Frame, after: Frame, rng: np.random.Generator) -> list[float]:
    """How far some patches of `after` that changed have moved since `before`, in pixels; those that are found there."""
    import cv2  # of the extra 'env'

    changed = np.abs(before.astype(np.int16) - after).max(-1) > CHANGED * 255
    places = np.argwhere(changed)
    wide, narrow = _padded(before, HALF + REACH), _padded(after, HALF)
    offsets: NDArray[Any] = np.hypot(*np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1])
    found = []
    for y, x in places[rng.permutation(len(places))[:PATCHES]]:
        patch = narrow[y : y + 2 * HALF + 1, x : x + 2 * HALF + 1]
        area = wide[y : y + 2 * (HALF + REACH) + 1, x : x + 2 * (HALF + REACH) + 1]
        errors = cv2.matchTemplate(area, patch, cv2.TM_SQDIFF)
        in_place = errors[REACH, REACH]
        if errors.min() <= FOUND * in_place:  # else it has appeared, or changed its form
            found.append(float(offsets[errors <= errors.min() + 0.02 * in_place].min()))
    return found


def _padded(frame: Frame, width: int) -> NDArray[np.uint8]:
    return np.pad(frame, ((width, width), (width, width), (0, 0)), mode="edge")
