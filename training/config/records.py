"""Records of commands in a run folder: a stage goes on only with the options that it was started with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.config.base import FLAT, MAY_CHANGE, ON_DISK, Config, marked
from training.infra.records import read_record
from wm_envs.errors import InvalidOption, OptionsDiffer, UnknownName
from wm_envs.files import JsonObject, file_lock, write_bytes, write_json


def as_record(config: Config) -> JsonObject:
    """The configuration as JSON values; the fields of a FLAT one stand beside those of what holds it."""
    values = config.as_json()
    for name, field in type(config).model_fields.items():
        if FLAT in field.metadata:
            values |= values.pop(name)
    return values


@contextlib.contextmanager
def recorded(path: Path, config: Config, made: Path | None = None, **more: str) -> Iterator[None]:
    """Lock `path` and keep the configuration there, with `more` values, while the block works.

    Raises `OptionsDiffer` when the stage was started with others. Fields marked `MAY_CHANGE` do not count, nor does
    what a record does not have: it came later. If the block refuses its options, the record is what it was before,
    unless a new file `made` shows that something was made with them.
    """
    with file_lock(path):
        before = path.read_bytes() if path.exists() else None
        _record(path, config, more)
        try:
            yield
        except (InvalidOption, UnknownName, OptionsDiffer):
            if before is not None:
                write_bytes(path, before)
            elif not (made and made.exists()):
                path.unlink(missing_ok=True)
                _remove_unused(path.parent)
            raise


def _record(path: Path, config: Config, more: Mapping[str, str]) -> None:
    values = as_record(config) | dict(more)
    for name in marked(config, ON_DISK):
        values[name] = _relative(path.parent, values[name])
    if path.exists():
        changing, before = set(marked(config, MAY_CHANGE)), flattened(read_record(path))
        for name in marked(config, ON_DISK):
            if (place := before.get(name)) and (os.path.isabs(place) or not (path.parent / place).exists()):
                before[name] = _relative(path.parent, place)  # an older record has the place as it was given
        now = {name: value for name, value in flattened(values).items() if name not in changing}
        shared = now.keys() & before if now.keys() & before else now  # none: the record is one of something else
        differing = {name: (before.get(name), now[name]) for name in now if name in shared}
        differing = {name: pair for name, pair in differing.items() if not _same(*pair)}
        if differing:
            shown = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in differing.items())
            raise OptionsDiffer(
                "run folder",
                f"{path.parent} with {shown}",
                "the options it was started with",
                "give those, or another --run folder",
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, values)


def flattened(values: Mapping[str, Any], prefix: str = "") -> JsonObject:
    """Nested values by their full names ("vision.batches")."""
    flat: JsonObject = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _same(before: object, now: object) -> bool:
    """Whether two recorded values are the same; an older record has 0 or -1 where there is a word now."""
    return before == now or (isinstance(now, str) and before in (0, -1))


def _relative(folder: Path, place: str) -> str:
    """A file or folder as it is seen from `folder`; anything else, such as the name of a shipped world, stays."""
    return os.path.relpath(place, folder) if place and os.path.exists(place) else place


def _remove_unused(folder: Path) -> None:
    """Remove a folder that holds nothing but locks, and the folders above it that are empty then."""
    with contextlib.suppress(OSError):
        if all(path.name.startswith(".") and path.suffix == ".lock" for path in folder.iterdir()):
            for path in folder.iterdir():
                path.unlink()
            for above in (folder, *folder.parents):
                above.rmdir()  # fails where something is left
