"""The packages that stages need: the extras `train`, `onnx` and `minari`, and the extra of a game."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from wm_envs.games.base import Task, missing_package

ONNX = ("onnx", "onnxscript", "onnxruntime")  # modules of the extra `onnx`
MINARI = ("minari", "h5py")  # modules of the extra `minari`
TRAIN = ("zarr", "cma", "stable_baselines3", "matplotlib", "tqdm", "PIL")  # modules of the extra `train`


def missing(modules: Iterable[str]) -> str:
    """The first of these modules that is not installed; "" if all are."""
    return next((name for name in modules if importlib.util.find_spec(name) is None), "")


def check_train() -> None:
    """Raises `MissingPackage` without the extra `train`."""
    if name := missing(TRAIN):
        raise missing_package("training", name, "train")


def check_onnx() -> None:
    """Raises `MissingPackage` without the extra `onnx`."""
    if name := missing(ONNX):
        raise missing_package("ONNX", name, "onnx")


def check_minari() -> None:
    """Raises `MissingPackage` without the extra `minari`."""
    if name := missing(MINARI):
        raise missing_package("Minari", name, "minari")


def check_game(task: Task) -> None:
    """Raises `MissingPackage` when the game is not installed: before any work, and not in a worker."""
    if name := missing(task.requires):
        raise missing_package(task.title, name, task.extra)
