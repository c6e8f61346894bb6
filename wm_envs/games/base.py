"""Task: one real game as data.

A task says how to open the game, what its actions are, what M sees of an action and which limits
hold. TakeCover is one value of it; another game is another value (see CONTRIBUTING.md).

Legend of axes used everywhere in this package:
B batch (lanes), T time (steps), Z latent, H hidden, K mixtures, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FRAME_SHAPE = (64, 64, 3)

Frame = NDArray[np.uint8]  # (64, 64, 3), RGB
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Tick:
    """What a game gives back for one call of `Game.advance`."""

    frame: Frame | None  # (64, 64, 3) uint8; None once the game has terminated
    reward: float  # summed over the ticks played
    terminated: bool
    ticks: int  # ticks actually played, fewer than asked when the game terminated on the way


class Game(Protocol):
    """The bare game behind a task: no observation space, no time limit, only pixels and ticks."""

    finished: bool  # whether this episode has reached the game's goal: a lap; Take Cover has none

    def reset(self, seed: int) -> Frame:
        """Start the episode that `seed` (0 <= seed < 2**32) names and return its first frame."""
        ...

    def advance(self, action: Array, ticks: int) -> Tick:
        """Hold `action` for `ticks` ticks, drawing only the last frame."""
        ...

    def close(self) -> None:
        """Free everything the game holds. May be called twice."""
        ...


@dataclass(frozen=True)
class Task:
    """One real game as data."""

    name: str
    title: str
    open: Callable[..., Game]  # with no argument the game that is learnt from; see `renderers` and `settings`
    action_low: tuple[float, ...]  # (A,)
    action_high: tuple[float, ...]  # (A,)
    discrete_actions: tuple[tuple[float, ...], ...]  # what actions="discrete" can choose from
    game_action: Callable[[Array], Array]  # (..., A) agent's action -> what the game does, which M sees
    tick_limit: int  # an episode is truncated after so many ticks
    ticks_per_second: int
    hold_scales: tuple[tuple[int, int], ...]  # random play holds an action lo..hi ticks long
    idle_actions: tuple[int, ...]  # indices in discrete_actions that half of random play avoids
    keyboard_action: Callable[
        [int, int], tuple[float, ...]
    ]  # what a human does: right (-1, 0, 1), up (-1, 0, 1) -> (A,)
    latent: int = 64  # Z in the paper
    hidden: int = 512  # H in the paper
    reward_unit: float = 0.0  # M foretells rewards in this unit; 0: they are 1 a tick survived, and nothing is foretold
    burn_in: int = 0  # ticks that dreams leave out, since nobody can foretell what comes into view meanwhile
    renderers: tuple[str, ...] = ()  # what `open` takes as drawing: first how scores are measured, last the fastest
    fine_actions: tuple[tuple[float, ...], ...] = ()  # what actions="fine" can choose from, where that differs
    settings: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # numbers `open` takes, and their ranges

    @property
    def action_size(self) -> int:
        """A."""
        return len(self.action_low)

    def choices(self, actions: str) -> tuple[tuple[float, ...], ...]:
        """What actions="discrete" or "fine" can choose from."""
        return self.fine_actions if actions == "fine" else self.discrete_actions
