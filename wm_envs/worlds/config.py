"""config.json of a bundle, checked before anything is allocated from its settings."""

from __future__ import annotations

from pathlib import Path
from typing import (
    Any,
    Literal,
    NotRequired,  # pydantic needs these of Python 3.12
    TypeVar,
)

from typing_extensions import TypedDict

from wm_envs.errors import BrokenWorld
from wm_envs.files import JsonObject, read_json
from wm_envs.validation import from_json

Config = TypeVar("Config")

FORMAT: Literal["wm-envs-world"] = "wm-envs-world"
VERSION: Literal[2] = 2
MAX_BYTES = 1 << 20


class FileEntry(TypedDict):
    """What identifies the content of a file."""

    sha256: str
    bytes: int


class ControllerEntry(TypedDict):
    """A controller: the values of its `ControllerConfig`, and its figures."""

    config: JsonObject
    card: JsonObject


class BundleConfig(TypedDict):
    """What config.json holds."""

    format: Literal["wm-envs-world"]
    version: Literal[2]
    world: JsonObject  # the values of the `WorldConfig`
    files: dict[str, FileEntry]
    coming: NotRequired[dict[str, FileEntry]]  # a file that is being replaced: what it will be
    controllers: dict[str, ControllerEntry]  # the first one is the default
    card: JsonObject  # figures of the world


def broken(folder: Path, problem: object) -> BrokenWorld:
    """The error for a bundle with this problem."""
    return BrokenWorld(
        "world", f"{folder}: {problem}", f"a complete {FORMAT} bundle of version {VERSION}",
        "reinstall the package if the world came with it, otherwise save or train the world again",
    )  # fmt: skip


def read_config(folder: Path) -> BundleConfig:
    """Read config.json of a bundle. Raises `BrokenWorld` for another format or version, or what is no config."""
    try:
        values: Any = read_json(Path(folder) / "config.json", MAX_BYTES)
        from_json(BundleConfig, values)
    except (OSError, ValueError) as error:
        raise broken(folder, f"config.json: {error}") from error
    config: BundleConfig = values
    return config


def read_values(kind: type[Config], values: Any, folder: Path) -> Config:
    """An instance of a configuration from values of config.json. Raises `BrokenWorld` with the first problem."""
    try:
        return from_json(kind, values)
    except ValueError as error:
        raise broken(folder, f"{kind.__name__}: {error}") from error
