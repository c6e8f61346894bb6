"""The battery: the policies that play the game and the dream, whose scores `fidelity` compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.acting.policies import (
    Constant,
    EpsilonRandomPolicy,
    MoveAndWait,
    OpenLoopPolicy,
    Policy,
    RandomHolds,
    load_policy,
)
from training.infra.worlds import check_controller
from wm_envs.games.base import Task
from wm_envs.worlds.bundle import read_config


@dataclass(frozen=True)
class Battery:
    """The lengths, in ticks, of what the open-loop policies of a game do."""

    alternations: tuple[int, ...] = (20, 40, 80, 120)  # between the moving actions
    pauses: tuple[tuple[int, int], ...] = ()  # move for so many ticks, be idle for so many, and so on
    holds: tuple[tuple[int, int], ...] = ()  # beside those of random play


BATTERIES = {
    "takecover": Battery(
        (12, 20, 28, 40, 52, 60, 72, 80, 92, 100, 120, 132, 150),
        ((30, 30), (60, 20), (60, 60), (60, 100), (60, 130), (100, 40)),
        ((10, 10), (30, 30), (60, 60), (90, 90)),
    )
}
BY_TICK = Battery((2, 5, 10, 20))  # of other games in which a step of M is one tick


def open_loop_battery(task: Task) -> list[OpenLoopPolicy]:
    """The fixed policies of a game: constant actions, alternations, pauses and random holds."""
    ticks = BATTERIES.get(task.name, BY_TICK if task.timing.frame_skip == 1 else Battery())
    return [
        *(Constant(f"constant {action}", index) for index, action in enumerate(task.actions.discrete)),
        *(MoveAndWait(f"alternate {move}", move) for move in ticks.alternations),
        *(MoveAndWait(f"move {move}, wait {wait}", move, wait) for move, wait in ticks.pauses),
        *(RandomHolds(f"hold {low}-{high}", low, high) for low, high in (*task.random_play.holds, *ticks.holds)),
    ]


def full_battery(task: Task, source: Path, controllers: str, epsilons: Sequence[float] = ()) -> list[Policy]:
    """The open-loop policies of a game, and controllers of the world in `source`, also with some random steps.

    `controllers` is "all", "none" or names, comma separated; raises `UnknownName` for one that the world does not have.
    """
    known = list(read_config(source)["controllers"])
    names = {"all": known, "none": []}.get(controllers, controllers.split(","))
    for name in names:
        check_controller(source, name, "controllers")
    trained = [load_policy(source, name) for name in names]
    noisy = [EpsilonRandomPolicy(policy, epsilon) for policy in trained for epsilon in dict.fromkeys(epsilons)]
    return [*open_loop_battery(task), *trained, *noisy]
