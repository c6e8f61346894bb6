"""Options of a stage: one typed dataclass each, shown by --help, kept as JSON in the run folder."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from wm_envs.errors import BrokenStore, InvalidOption, OptionsDiffer, UnknownName
from wm_envs.files import read_json, write_json

Options = TypeVar("Options")


def stage_option(default: Any, explanation: str, identity: bool = False, path: bool = False) -> Any:
    """A field with its help text; `identity` ones may not change when a run is resumed. Of a `path` the place counts,
    as it is seen from the run, which may have been moved, or be called by another name."""
    metadata = {"help": explanation, "identity": identity, "path": path}
    if isinstance(default, str) and default.startswith("runs/"):
        return dataclasses.field(default=Path(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def count(name: str, value: object, least: int = 1) -> int:
    """`value` as a whole number of at least `least`; raises `InvalidOption`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(
            name, value, f"a whole number of at least {least}", f"give --{name.replace('_', '-')} {least} or more"
        )
    return value


def plain_name(name: str, value: object) -> str:
    """`value` as the name of a folder of its own; raises `InvalidOption`."""
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.-]{0,99}", value, re.ASCII):
        raise InvalidOption(name, value, "letters, digits, _, - and . only", f"give --{name} such a name")
    return value


def game_settings(pairs: tuple[str, ...]) -> dict[str, float]:
    """Settings of a game from NAME=NUMBER each; raises `InvalidOption`."""
    found = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            found[name] = float(number)
        except ValueError as error:
            raise InvalidOption("settings", pair, "NAME=NUMBER", "give lap_complete_percent=1, say") from error
    return found


def positive(name: str, value: object) -> float:
    """`value` as a finite number above 0; raises `InvalidOption`."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type]
        raise InvalidOption(name, value, "a finite number above 0", f"give --{name.replace('_', '-')} such a number")
    return float(value)  # type: ignore[arg-type]


def not_negative(name: str, value: object) -> float:
    """`value` as a finite number of at least 0; raises `InvalidOption`."""
    return 0.0 if type(value) in (int, float) and value == 0 else positive(name, value)


def check_temperatures(lowest: object, highest: object) -> None:
    """Raises `InvalidOption` unless dreams can have such temperatures, from the lowest to the highest (0: only one)."""
    positive("temperature", lowest)
    if 0 < not_negative("temperature_high", highest) < lowest:  # type: ignore[operator]
        raise InvalidOption(
            "temperature_high", highest, f"0, or at least the temperature, {lowest}", "give --temperature-high 0"
        )


def add_arguments(parser: argparse.ArgumentParser, options: type) -> None:
    """One --flag for each field of the dataclass `options`."""
    hints = typing.get_type_hints(options)
    for option in dataclasses.fields(options):
        flag = "--" + option.name.replace("_", "-")
        explanation = f"{option.metadata.get('help', '')} (default: {option.default})"
        kind = hints[option.name]
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=explanation)
        elif typing.get_origin(kind) is tuple:
            item = typing.get_args(kind)[0]
            parser.add_argument(flag, nargs="*", type=item, default=option.default, help=explanation)
        else:
            parser.add_argument(flag, type=kind, default=option.default, help=explanation)


def from_arguments(options: type[Options], arguments: argparse.Namespace) -> Options:
    """The dataclass filled from parsed arguments."""
    values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    return options(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def as_json(options: Any) -> dict[str, Any]:
    """The options as JSON-able values."""
    return json.loads(json.dumps(dataclasses.asdict(options), default=str))


def record_options(path: Path, options: Any) -> None:
    """Keep the options of a stage at `path`; raises `OptionsDiffer` when it was begun with others.

    Only the fields marked `identity` count: where the result goes and how many workers make it
    may change between a run and its resumption. An option that the record does not know came later.
    """
    given = as_json(options)
    fields = [field for field in dataclasses.fields(options) if field.metadata.get("identity")]
    places = [field.name for field in fields if field.metadata.get("path")]
    given |= {name: _seen_from(path.parent, given[name]) for name in places}
    if path.exists():
        record = read_record(path)
        for name in places:  # an older record has them as they were given
            old = record.get(name)
            if isinstance(old, str) and (os.path.isabs(old) or not (path.parent / old).exists()):
                record[name] = _seen_from(path.parent, old)
        known = any(field.name in record for field in fields)  # else it is the record of something else
        before = (given if known else dict.fromkeys(given)) | record
        differing = {f.name: (before[f.name], given[f.name]) for f in fields if before[f.name] != given[f.name]}
        if differing:
            shown = ", ".join(f"{n} {old!r} -> {new!r}" for n, (old, new) in differing.items())
            raise OptionsDiffer(
                "run folder", f"{path.parent} with {shown}", "the options it was begun with",
                "give those, or another --run folder",
            )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, given)


def _seen_from(folder: Path, place: str) -> str:
    """A file or folder as it is seen from `folder`; what is neither, as the name of a shipped world, stays as it is."""
    return os.path.relpath(place, folder) if place and os.path.exists(place) else place


@contextlib.contextmanager
def check_run_options(path: Path, options: Any, begun: Path | None = None) -> Iterator[None]:
    """`record_options`, and forget again when they turn out to be no options for this run, unless the file `begun` says
    that something was begun with them."""
    fresh = not path.exists()
    record_options(path, options)
    try:
        yield
    except (InvalidOption, UnknownName, OptionsDiffer):
        if fresh and not (begun and begun.exists()):
            path.unlink(missing_ok=True)
        raise


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object that a stage wrote at `path`; raises `BrokenStore`."""
    try:
        return read_json(path)
    except (ValueError, OSError) as error:
        raise BrokenStore(
            "record", f"{path} ({error})", "what a stage wrote there", "remove it and run the stage again"
        ) from error
