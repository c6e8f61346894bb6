"""Task: one real game as data. Game: what the class behind it offers.

A task says how to open the game and under which ids Gymnasium finds it; its parts describe the actions, the rewards,
random play and the timing. All other code reads these fields and knows no game by name (see
CONTRIBUTING.md).

Legend of axes used everywhere in this package:
B batch (environments), T time (steps), Z latent, H hidden, K mixtures, A action.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wm_envs.errors import MissingPackage

FRAME_SHAPE = (64, 64, 3)
# Right and up -> keys of `gymnasium.utils.play`: letters, and pygame's codes of the arrows.
PLAY_KEYS: dict[tuple[int, int], tuple[str | int, ...]] = {
    (1, 0): ("d", 1073741903), (-1, 0): ("a", 1073741904), (0, 1): ("w", 1073741906), (0, -1): ("s", 1073741905),
}  # fmt: skip

Frame = NDArray[np.uint8]  # (64, 64, 3), RGB
Array = NDArray[np.float32]
Info = dict[str, Any]  # Gymnasium's: what an environment says beside its observation
Options = dict[str, Any]  # Gymnasium's: of a reset
Keywords = dict[str, Any]  # of `gymnasium.make` or `Task.open`


@dataclass(frozen=True)
class Tick:
    """What a game returns for one call of `Game.advance`."""

    frame: Frame | None  # (64, 64, 3) uint8; None once the game has terminated
    reward: float  # summed over the ticks played
    terminated: bool
    ticks: int  # ticks played; fewer than requested when the episode is over before the last one
    cost: float = 0.0  # what a setting of the game took off the reward; it does not count towards `Rewards.goal`
    truncated: bool = False  # the game stopped the episode without an end

    @property
    def over(self) -> bool:
        """Whether the episode is over, for either reason."""
        return self.terminated or self.truncated


class Game(Protocol):
    """The bare game behind a task: no observation space, no time limit, only pixels and ticks."""

    finished: bool  # True when this episode has reached the game's goal (a lap); Take Cover has no goal

    def reset(self, seed: int) -> Frame:
        """Start the episode of `seed` (0 <= seed < 2**32) and return its first frame."""
        ...

    def advance(self, action: Array, ticks: int) -> Tick:
        """Hold `action` (A,), a value of `Actions.to_game`, for `ticks` ticks; draw only the last frame."""
        ...

    def close(self) -> None:
        """Free everything the game holds. May be called twice."""
        ...


class GameWithObjects(Game, Protocol):
    """A game that also says where its objects are, if `Task.objects` names kinds of objects."""

    def objects(self) -> NDArray[np.bool_]:
        """The pixels of the last frame that each kind of object covers, (kinds, 64, 64) bool."""
        ...


class OwnActions(Protocol):
    """The action space of a game as it comes, and the vectors (A,) that M sees of its actions."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one action."""
        ...

    @property
    def space(self) -> spaces.Space[Any]:
        """The action space."""
        ...

    @property
    def limits(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lowest and highest action, each of the shape of one action."""
        ...

    def encode(self, actions: NDArray[Any]) -> Array:
        """Vectors (..., A) of actions (..., *shape)."""
        ...

    def decode(self, vectors: Array) -> NDArray[Any]:
        """Actions (..., *shape) of vectors (..., A)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Actions:
    """The actions of a game: what agents choose from, and what the game and M are given."""

    low: tuple[float, ...]  # (A,) limits of a continuous action
    high: tuple[float, ...]
    discrete: tuple[tuple[float, ...], ...]  # the choices of actions="discrete"
    fine: tuple[tuple[float, ...], ...] = ()  # the choices of actions="fine", if the game has it
    own: OwnActions | None = None  # the game's own action space, actions="own", if the game has it
    to_game: Callable[[Array], Array]  # (..., A) the agent's action -> (..., A) the game's, which M sees
    of_keys: Callable[[int, int], tuple[float, ...]]  # keys right (-1, 0, 1), up (-1, 0, 1) -> (A,)

    @property
    def size(self) -> int:
        """A."""
        return len(self.low)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The values of the keyword `actions`, the default first."""
        own = ("own",) if self.own else ()
        return (*own, "continuous", "discrete", *(("fine",) if self.fine else ()))

    @property
    def finest(self) -> str:
        """The kind with the most choices: "fine" if the game has it, else "discrete"."""
        return "fine" if self.fine else "discrete"

    def choices(self, kind: str) -> tuple[tuple[float, ...], ...]:
        """The choices of actions="discrete" or "fine"."""
        return self.fine if kind == "fine" else self.discrete

    def nearest(self, kind: str, actions: Array) -> NDArray[Any]:
        """The nearest actions (..., ...) of the action space of a kind to continuous actions (..., A)."""
        if kind == "continuous":
            return actions
        if kind == "own":
            assert self.own is not None
            return self.own.decode(actions)
        choices = np.array(self.choices(kind), np.float32)
        return np.asarray(np.abs(actions[..., None, :] - choices).sum(axis=-1).argmin(axis=-1))


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """What a game pays."""

    survival: bool  # True: the reward is 1 a tick survived, and M predicts no reward
    scale: float = 1.0  # otherwise: M predicts rewards divided by this (0: by a unit measured from the store)
    goal: float = 0.0  # the sum of rewards, without `per_tick`, that reaches the goal (0: there is none)
    per_tick: float = 0.0  # the part of the reward that every tick has

    def earned(self, rewards: Any, ticks: int) -> Any:
        """What rewards (an array or a tensor), each the sum of so many ticks, give towards `goal`."""
        return (rewards - ticks * self.per_tick).clip(0)


@dataclass(frozen=True, kw_only=True)
class RandomPlay:
    """How random play draws and holds its actions.

    Each episode draws one of `holds`, and half of the episodes avoid the idle actions. With `concentrations`, an
    episode is made of habits instead: each draws the actions' shares of the time, and the holds.
    """

    holds: tuple[tuple[int, int], ...]  # an action is held for low..high ticks
    idle: tuple[int, ...]  # indices in `Actions.discrete` that do nothing
    concentrations: tuple[float, ...] = ()  # of the Dirichlet distributions of these shares
    habit: tuple[int, int] = (50, 2000)  # a habit lasts for low..high ticks, short ones more often
    between: float = 0.0  # share of the habits that take any actions between `Actions.low` and `Actions.high`


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long an episode is, and how its ticks make the steps of M."""

    tick_limit: int  # an episode is truncated after this many ticks
    ticks_per_second: int
    frame_skip: int = 4  # ticks in a step of M, unless it is trained with another number
    burn_in: int = 0  # ticks skipped at the start of an episode, while its frames cannot be predicted

    def steps(self, frame_skip: int, after: int = 0) -> int:
        """Steps of `frame_skip` ticks until the limit, for an episode that is `after` ticks old."""
        return -(-(self.tick_limit - after) // frame_skip)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One real game as data."""

    # --- names and packages ---
    name: str  # as in `--task`; also the name of the shipped world
    title: str  # for people
    game: str  # "module:Class" of the `Game`, imported when it is first opened
    game_kwargs: Mapping[str, Any] = field(default_factory=dict)  # keywords that the class always gets
    dream_id: str  # id of its dream in Gymnasium's registry
    real_id: str  # id of the real game as latent features
    own_envs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # further ids -> keywords of `gym.register`
    extra: str = ""  # the pip extra that installs the game; "" if it needs no further package
    requires: tuple[str, ...] = ()  # modules of that extra; the game is not installed if one is missing

    # --- the game ---
    actions: Actions  # `low`, `high`, `discrete`, `fine`, `own`, `to_game`, `of_keys`
    rewards: Rewards  # `survival`, `scale`, `goal`, `per_tick`
    random_play: RandomPlay  # `holds`, `idle`
    timing: Timing  # `tick_limit`, `ticks_per_second`, `frame_skip`, `burn_in`

    # --- how it is opened ---
    renderers: tuple[str, ...] = ()  # values of its keyword `renderer`, if it has one
    score_renderer: str | None = None  # the one that scores are measured with
    fast_renderer: str | None = None  # the fastest one
    settings: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # further keywords: numbers, their ranges
    penalties: tuple[str, ...] = ()  # those of the settings that change the reward: for training, never for a score
    env_frame: str = ""  # "module:function" for `LatentFeatures`: task, Gymnasium's env, its observation -> frame
    # What `open(objects=True)` returns beside frames: for training V and measuring it, never an observation.
    objects: Mapping[str, float] = field(default_factory=dict)  # kinds of objects -> their relative weight for V

    # --- sizes of the paper ---
    latent: int = 64  # Z
    hidden: int = 512  # H

    def open(self, **kwargs: Any) -> Game:
        """The game, ready for `reset`; keywords are `renderer`, `settings` and `objects`, where the task has them.

        Without keywords it is the game as random play records it. Raises `MissingPackage` if it is not installed.
        """
        try:
            game: Game = load(self.game)(**self.game_kwargs, **kwargs)
        except MissingPackage:
            raise
        except ImportError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in self.requires:
                raise
            raise missing_package(self.title, missing, self.extra) from error
        return game


def within(values: Any, low: NDArray[Any], high: NDArray[Any], rounding: float = 0.0) -> NDArray[Any] | None:
    """`values` as an array; None unless they have the shape and kind of `low` and lie between `low` and `high`."""
    try:
        array = np.asarray(values)
    except ValueError:  # a ragged list
        return None
    if array.shape != low.shape or array.dtype.kind not in ("iuf" if low.dtype.kind == "f" else "iu"):
        return None
    return array if ((array >= low - rounding) & (array <= high + rounding)).all() else None  # NaN fails


def load(entry_point: str) -> Any:
    """What a field "module:name" of a task names."""
    module, _, name = entry_point.partition(":")
    return getattr(importlib.import_module(module), name)


def missing_package(title: str, module: str, extra: str) -> MissingPackage:
    """The error for a game whose module is not installed; it names the pip extra."""
    return MissingPackage(title, f"no package {module!r}", f"the extra {extra!r}", f"pip install 'wm-envs[{extra}]'")
