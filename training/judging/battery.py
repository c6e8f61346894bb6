"""The battery: the policies that play the game and the dream, whose scores `fidelity` compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from training.acting.policies import (
    Constant,
    EpsilonRandomPolicy,
    LinearScript,
    MoveAndWait,
    OpenLoopPolicy,
    Policy,
    RandomHolds,
    Tap,
    load_policy,
)
from training.infra.worlds import check_controller
from wm_envs.games.base import Task
from wm_envs.games.gym_env import PREFIX
from wm_envs.worlds.bundle import read_config

MANY = 1_000
T = TypeVar("T")


@dataclass(frozen=True)
class Battery:
    """The lengths, in ticks, of what the open-loop policies of a game do."""

    alternations: tuple[int, ...] = (20, 40, 80, 120)  # between the moving actions
    pauses: tuple[tuple[int, int], ...] = ()  # move for so many ticks, be idle for so many, and so on
    holds: tuple[tuple[int, int], ...] = ()  # beside those of random play
    taps: tuple[int, ...] = ()  # from one lone action to the next
    constants: int = MANY  # constant actions, and policies with lone actions, at most
    linear: int = 0  # number of policies that react to what they see


BATTERIES = {
    "takecover": Battery(
        (12, 20, 28, 40, 52, 60, 72, 80, 92, 100, 120, 132, 150),
        ((30, 30), (60, 20), (60, 60), (60, 100), (60, 130), (100, 40)),
        ((10, 10), (30, 30), (60, 60), (90, 90)),
    )
}
BY_TICK = Battery((2, 5, 10, 20))  # of other games in which a step of M is one tick
# Of any environment: half of the policies play as no random play does.
ANY = Battery((2, 5, 10, 20), taps=(6, 13, 27), constants=12, linear=6)


def open_loop_battery(task: Task) -> list[OpenLoopPolicy]:
    """The fixed policies of a game: constant actions, alternations, pauses, random holds and lone actions."""
    ticks, choices = _battery(task), range(len(task.actions.discrete))
    rest = task.random_play.idle[0] if task.random_play.idle else 0
    taps = [(action, every) for action in choices if action != rest for every in ticks.taps]
    return [
        *(Constant(f"constant {task.actions.discrete[at]}", at) for at in _spread(choices, ticks.constants)),
        *(MoveAndWait(f"alternate {move}", move) for move in ticks.alternations),
        *(MoveAndWait(f"move {move}, wait {wait}", move, wait) for move, wait in ticks.pauses),
        *(RandomHolds(f"hold {low}-{high}", low, high) for low, high in (*task.random_play.holds, *ticks.holds)),
        *(Tap(f"tap {at} every {every}", at, rest, every) for at, every in _spread(taps, ticks.constants)),
    ]


def scripts(task: Task) -> list[Policy]:
    """The open-loop policies of a game, and those that react to what they see."""
    linear = [LinearScript(f"linear {seed}", seed) for seed in range(1, _battery(task).linear + 1)]
    return [*open_loop_battery(task), *linear]


def _battery(task: Task) -> Battery:
    if task.name.startswith(PREFIX):
        return ANY
    return BATTERIES.get(task.name, BY_TICK if task.timing.frame_skip == 1 else Battery())


def _spread(values: Sequence[T], most: int) -> list[T]:
    """At most so many of the values, evenly spread."""
    return [values[len(values) * at // most] for at in range(most)] if len(values) > most else [*values]


def full_battery(task: Task, source: Path, controllers: str, epsilons: Sequence[float] = ()) -> list[Policy]:
    """The scripts of a game, and controllers of the world in `source`, also with some random steps.

    `controllers` is "all", "none" or names, comma separated; raises `UnknownName` for one that the world does not have.
    """
    known = list(read_config(source)["controllers"])
    names = {"all": known, "none": []}.get(controllers, controllers.split(","))
    for name in names:
        check_controller(source, name, "controllers")
    trained = [load_policy(source, name) for name in names]
    noisy = [EpsilonRandomPolicy(policy, epsilon) for policy in trained for epsilon in dict.fromkeys(epsilons)]
    return [*scripts(task), *trained, *noisy]
