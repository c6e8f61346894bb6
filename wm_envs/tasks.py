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

from wm_envs.errors import UnknownName

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
    open: Callable[..., Game]  # with no argument the game that is learnt from; see `drawings` and `settings`
    action_low: tuple[float, ...]  # (A,)
    action_high: tuple[float, ...]  # (A,)
    discrete_actions: tuple[tuple[float, ...], ...]  # what actions="discrete" can choose from
    executed: Callable[[Array], Array]  # (..., A) agent's action -> what the game does, which M sees
    tick_limit: int  # an episode is truncated after so many ticks
    ticks_per_second: int
    hold_scales: tuple[tuple[int, int], ...]  # random play holds an action lo..hi ticks long
    idle_actions: tuple[int, ...]  # indices in discrete_actions that half of random play avoids
    by_keys: Callable[[int, int], tuple[float, ...]]  # what a human does: right (-1, 0, 1), up (-1, 0, 1) -> (A,)
    latent: int = 64  # Z in the paper
    hidden: int = 512  # H in the paper
    reward_unit: float = 0.0  # M foretells rewards in this unit; 0: they are 1 a tick survived, and nothing is foretold
    opening: int = 0  # ticks that dreams leave out, since nobody can foretell what comes into view meanwhile
    drawings: tuple[str, ...] = ()  # what `open` takes as drawing: first how scores are measured, last the fastest
    fine_actions: tuple[tuple[float, ...], ...] = ()  # what actions="fine" can choose from, where that differs
    settings: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # numbers `open` takes, and their ranges

    @property
    def action_size(self) -> int:
        """A."""
        return len(self.action_low)

    def choices(self, actions: str) -> tuple[tuple[float, ...], ...]:
        """What actions="discrete" or "fine" can choose from."""
        return self.fine_actions if actions == "fine" else self.discrete_actions


def _executed_take_cover(action: Array) -> Array:
    """a < -1/3 moves left, a > 1/3 moves right, else stay (World Models, appendix A.5)."""
    return np.where(action > 1 / 3, 1.0, np.where(action < -1 / 3, -1.0, 0.0)).astype(np.float32)


def _open_take_cover() -> Game:
    from wm_envs.take_cover import TakeCoverGame  # vizdoom is an extra: imported when needed

    return TakeCoverGame()


TAKE_COVER = Task(
    name="takecover",
    title="ViZDoom Take Cover",
    open=_open_take_cover,
    action_low=(-1.0,),
    action_high=(1.0,),
    discrete_actions=((0.0,), (1.0,), (-1.0,)),  # stay, right, left: ViZDoom's own order
    executed=_executed_take_cover,
    tick_limit=2100,
    ticks_per_second=35,
    hold_scales=((1, 10), (5, 60), (20, 120), (60, 150)),
    idle_actions=(0,),
    by_keys=lambda right, up: (float(right),),
)


def _executed_car_racing(action: Array) -> Array:
    """Steer as it is, gas (a + 1) / 2, brake clip(a, 0, 1) (the authors' released code)."""
    steer, gas, brake = (action[..., i] for i in range(3))
    return np.stack([steer, (gas + 1) / 2, np.clip(brake, 0, 1)], axis=-1).astype(np.float32)


def _open_car_racing(
    drawing: str = "fast", lap_complete_percent: float = 0.95, off_road_cost: float = 0.0
) -> Game:  # fmt: skip
    from wm_envs.car_racing_game import CarRacingGame  # Box2D and pygame are an extra

    return CarRacingGame(drawing, lap_complete_percent, off_road_cost)


CAR_RACING = Task(
    name="carracing",
    title="CarRacing",
    open=_open_car_racing,
    action_low=(-1.0, -1.0, -1.0),
    action_high=(1.0, 1.0, 1.0),
    discrete_actions=(
        # Gymnasium's own five, in its order: nothing, right, left, gas 0.2, brake 0.8 ...
        (0.0, -1.0, 0.0), (0.6, -1.0, 0.0), (-0.6, -1.0, 0.0), (0.0, -0.6, 0.0), (0.0, -1.0, 0.8),
        # ... and what they lack: right and left on the gas, full gas.
        (0.6, -0.6, 0.0), (-0.6, -0.6, 0.0), (0.0, 1.0, 0.0),
    ),
    executed=_executed_car_racing,
    tick_limit=1000,
    ticks_per_second=50,
    hold_scales=((1, 5), (5, 20), (10, 50)),
    idle_actions=(0, 1, 2, 4),
    by_keys=lambda right, up: (float(right), 1.0 if up > 0 else -1.0, 0.8 if up < 0 else 0.0),
    latent=32,
    hidden=256,
    opening=24,  # the camera falls from where the whole field is a few pixels wide; later it is near, and slow
    reward_unit=3.0,  # about what a new tile of the track gives
    drawings=("stock", "exact", "fast"),
    settings={"lap_complete_percent": (0.0, 1.0), "off_road_cost": (0.0, 100.0)},
    # Seven ways to steer by braking, coasting, and gas 0.2 and 1.
    fine_actions=tuple(
        (steer, gas, brake)
        for steer in (0.0, 0.15, -0.15, 0.35, -0.35, 0.7, -0.7)
        for gas, brake in ((-1.0, 0.8), (-1.0, 0.0), (-0.6, 0.0), (1.0, 0.0))
    ),
)  # fmt: skip

TASKS = {task.name: task for task in (TAKE_COVER, CAR_RACING)}


def get_task(name: str) -> Task:
    """The task called `name`; raises `UnknownName` listing those there are."""
    if name not in TASKS:
        raise UnknownName("task", name, f"one of {sorted(TASKS)}", "give one of these names")
    return TASKS[name]
