"""The packages that stages need: the extra `train`, and the extra of a game."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from wm_envs.errors import MissingPackage
from wm_envs.games.base import Task, missing_package

TRAIN = ("zarr", "cma", "stable_baselines3", "matplotlib", "tqdm", "PIL")  # modules of the extra `train`


def missing(modules: Iterable[str]) -> str:
    """The first of these modules that is not installed; "" if all are."""
    return next((name for name in modules if importlib.util.find_spec(name) is None), "")


def check_train() -> None:
    """Raises `MissingPackage` without the extra `train`."""
    if name := missing(TRAIN):
        raise MissingPackage("training", f"no package {name!r}", "the extra 'train'", "pip install 'wm-envs[train]'")


def check_game(task: Task) -> None:
    """Raises `MissingPackage` when the game is not installed: before any work, and not in a worker."""
    if name := missing(task.requires):
        raise missing_package(task.title, name, task.extra)
