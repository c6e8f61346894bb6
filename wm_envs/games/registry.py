"""All games. A new game is a folder beside this file and one line in it."""

from __future__ import annotations

from wm_envs.errors import UnknownName
from wm_envs.games.base import Task
from wm_envs.games.car_racing.task import CAR_RACING
from wm_envs.games.take_cover.task import TAKE_COVER

TASKS = {task.name: task for task in (TAKE_COVER, CAR_RACING)}


def get_task(name: str) -> Task:
    """The task called `name`; raises `UnknownName` with the list of names."""
    if name not in TASKS:
        raise UnknownName("task", name, f"one of {sorted(TASKS)}", "give one of these names")
    return TASKS[name]
