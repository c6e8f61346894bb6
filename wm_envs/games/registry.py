"""All games. A new game is a folder beside this file and one line in it. Any environment of Gymnasium is one, too."""

from __future__ import annotations

from wm_envs.errors import InvalidOption, UnknownName, did_you_mean
from wm_envs.games.base import Task
from wm_envs.games.car_racing.task import CAR_RACING
from wm_envs.games.gym_env import PREFIX
from wm_envs.games.take_cover.task import TAKE_COVER

TASKS = {task.name: task for task in (TAKE_COVER, CAR_RACING)}


def get_task(name: str) -> Task:
    """The task called `name`, or that of the environment that `name` describes (see games/gym_env/description.py).

    Raises `UnknownName` with the list of names, or `InvalidOption` for a damaged description.
    """
    if name.startswith(PREFIX):  # a description checks itself with pydantic, which `import wm_envs` does not load
        from wm_envs.games.gym_env.task import gym_task

        return gym_task(name)
    if name not in TASKS:
        fix = f"give one of these names{did_you_mean(name, TASKS)}"
        raise UnknownName("task", name, f"one of {sorted(TASKS)}", fix)
    return TASKS[name]


def is_task(name: object) -> bool:
    """Whether `get_task` knows the name."""
    try:
        return isinstance(name, str) and bool(get_task(name))
    except (UnknownName, InvalidOption):
        return False


def short_name(name: str, other: str = "") -> str:
    """A task's name for people; for two descriptions of environments, where they differ from each other."""
    if not name.startswith(PREFIX):
        return name
    from wm_envs.games.gym_env.description import parse

    description = parse(name)
    if other.startswith(PREFIX) and (differs := description.differs(parse(other))):
        return f"{description.title} ({differs})"
    return description.title
