"""The settings in a bundle's config.json, checked before anything is allocated from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from wm_envs.errors import BrokenWorld
from wm_envs.validation import from_json

Config = TypeVar("Config")

FORMAT = "wm-envs-world"
VERSION = 2


def broken(folder: Path, problem: object) -> BrokenWorld:
    """The error for a bundle with this problem."""
    return BrokenWorld(
        "world", f"{folder}: {problem}", f"a complete {FORMAT} bundle of version {VERSION}",
        "reinstall the package if the world came with it, otherwise save or train the world again",
    )  # fmt: skip


def read_values(kind: type[Config], values: Any, folder: Path) -> Config:
    """An instance of a configuration from values of config.json. Raises `BrokenWorld` with the first problem."""
    try:
        return from_json(kind, values)
    except ValueError as error:
        raise broken(folder, f"{kind.__name__}: {error}") from error
