"""Options of a stage: a typed dataclass for each stage, shown by --help, checked by what its fields declare, and kept
as JSON in the run folder.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import json
import math
import os
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wm_envs.errors import BrokenStore, InvalidOption, OptionsDiffer, UnknownName
from wm_envs.files import read_json, write_json
from wm_envs.games.registry import get_task

Options = TypeVar("Options")


# --- declaring ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounds:
    """The values that a field accepts; those of a tuple apply to each of its items."""

    minimum: float | None = None
    exclusive_minimum: float | None = None
    maximum: float | None = None
    exclusive_maximum: float | None = None
    choices: tuple[str, ...] = ()
    check: Callable[[str, Any], object] | None = None  # called with name and value; raises when the value is wrong

    def contain(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.exclusive_minimum is None or value > self.exclusive_minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.exclusive_maximum is None or value < self.exclusive_maximum)
        )

    def __str__(self) -> str:
        parts = {
            f"of at least {self.minimum}": self.minimum,
            f"above {self.exclusive_minimum}": self.exclusive_minimum,
            f"of at most {self.maximum}": self.maximum,
            f"below {self.exclusive_maximum}": self.exclusive_maximum,
        }
        return " and ".join(text for text, limit in parts.items() if limit is not None)


def stage_option(default: Any, explanation: str, *, identity: bool = False, path: bool = False, **bounds: Any) -> Any:
    """A field with its help text and the `Bounds` of its value.

    An `identity` option may not change when a run is resumed. A `path` option names a file or folder; its record holds
    the place as it is seen from the run, so a run can be moved.
    """
    metadata = {"help": explanation, "identity": identity, "path": path, "bounds": Bounds(**bounds)}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class StageKind:
    """The options of a stage that a pipeline passes on: their class, those that the pipeline sets itself, and the
    pipeline's own defaults."""

    options: type
    hidden: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """The fields that can be given, by name."""
        fields = dataclasses.fields(self.options)
        return {field.name: field for field in fields if field.name not in self.hidden}

    def default(self, name: str) -> Any:
        """What an option is unless it is given."""
        return self.defaults.get(name, self.fields()[name].default)


def passed_options(explanation: str, stages: dict[str, StageKind]) -> Any:
    """A field for options of other stages: {stage: {option: value}}, on the command line `--STAGE.OPTION`."""
    metadata = {"help": explanation, "stages": stages}
    return dataclasses.field(default_factory=dict, metadata=metadata)


# --- checking -----------------------------------------------------------------------------------------


def check_options(options: Any, prefix: str = "") -> None:
    """Raises `InvalidOption` or `UnknownName` for the first value that its field does not accept, then for values that
    do not fit together (`options.check()`). Names in errors start with `prefix`."""
    kinds = typing.get_type_hints(type(options))
    for field in dataclasses.fields(options):
        if "bounds" in field.metadata:
            kind, value = kinds[field.name], getattr(options, field.name)
            items = value if typing.get_origin(kind) is tuple else [value]
            if not isinstance(items, list | tuple):
                raise InvalidOption(prefix + field.name, value, "a list of values", f"give --{_flag(field.name)} A B")
            kind = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind
            for item in items:
                _check_value(prefix + field.name, item, kind, field.metadata["bounds"])
    options.check()


def _check_value(name: str, value: Any, kind: Any, bounds: Bounds) -> None:
    if kind is int:
        _check_whole_number(name, value, bounds)
    elif kind is float:
        _check_number(name, value, bounds)
    elif bounds.choices:
        if value not in bounds.choices:
            expected = f"one of {list(bounds.choices)}"
            raise InvalidOption(name, value, expected, f"give --{_flag(name)} {bounds.choices[0]}, for example")
    elif not isinstance(value, str | Path if kind is Path else kind):
        raise InvalidOption(name, value, f"a value of type {kind.__name__}", f"give --{_flag(name)} such a value")
    if bounds.check is not None:
        bounds.check(name, value)


def _check_whole_number(name: str, value: Any, bounds: Bounds) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not bounds.contain(value):
        expected = f"a whole number {bounds}".strip()
        fix = (
            f"give --{_flag(name)} {bounds.minimum} or more" if str(bounds) else f"give --{_flag(name)} 1, for example"
        )
        raise InvalidOption(name, value, expected, fix)


def _check_number(name: str, value: Any, bounds: Bounds) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not bounds.contain(value):
        expected = f"a finite number {bounds}".strip()
        raise InvalidOption(name, value, expected, f"give --{_flag(name)} such a number")


def _flag(name: str) -> str:
    return name.replace("_", "-")


def plain_name(name: str, value: str) -> str:
    """`value` when it can be the name of a folder; raises `InvalidOption`."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", value, re.ASCII):
        raise InvalidOption(name, value, "letters, digits, _, - and . only", f"give --{_flag(name)} such a name")
    return value


def known_task(name: str, value: str) -> None:
    """Raises `UnknownName` unless `value` is a game."""
    get_task(value)


def game_settings(pairs: tuple[str, ...]) -> dict[str, float]:
    """Settings of a game from words NAME=NUMBER; raises `InvalidOption`."""
    found = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            found[name] = float(number)
        except ValueError as error:
            fix = "give lap_complete_percent=1, for example"
            raise InvalidOption("settings", pair, "NAME=NUMBER", fix) from error
    return found


def check_setting(name: str, value: str) -> None:
    """Raises `InvalidOption` unless `value` is NAME=NUMBER."""
    game_settings((value,))


# --- options that several stages share ------------------------------------------------------------------


@dataclass
class StageOptions:
    """Base of all options."""

    def check(self) -> None:
        """Raises `InvalidOption` for values that do not fit together."""


@dataclass
class RunOption(StageOptions):
    """The run folder."""

    run: Path = stage_option(Path("runs/takecover"), "run folder")


@dataclass
class ModelRoundOptions(RunOption):
    """The run folder and the round that a stage works for."""

    round: int = stage_option(0, "round of the run", minimum=0)


@dataclass
class WorldRoundOptions(RunOption):
    """The run folder and the round whose world a stage uses."""

    round: int = stage_option(-1, "round of the run whose world is used (-1: the latest that has one)", minimum=-1)


@dataclass(kw_only=True)
class TaskOption(StageOptions):
    """The game."""

    task: str = stage_option("takecover", "the game: takecover or carracing", check=known_task)


@dataclass(kw_only=True)
class SeedOption(StageOptions):
    """The seed."""

    seed: int = stage_option(0, "seed of all random numbers", identity=True, minimum=0)


@dataclass(kw_only=True)
class ProcessOption(StageOptions):
    """Processes on this machine."""

    workers: int = stage_option(0, "worker processes (0: one per core)", minimum=0)


@dataclass(kw_only=True)
class WorkerOptions(ProcessOption):
    """Processes on this machine, or a Ray cluster."""

    ray: str = stage_option("", "use a Ray cluster instead: its address, auto, or local to start one here")


@dataclass(kw_only=True)
class RealGameOptions(WorkerOptions):
    """Validation in the real game."""

    validate_episodes: int = stage_option(48, "real episodes per validation (0: validate in dreams only)", minimum=0)


@dataclass(kw_only=True)
class DreamOptions(StageOptions):
    """Temperatures of the dreams."""

    temperature: float = stage_option(
        1.1, "temperature of the dreams, or the lowest of a range", identity=True, exclusive_minimum=0
    )
    temperature_high: float = stage_option(
        1.6, "highest temperature of the range (0: one temperature only)", identity=True, minimum=0
    )

    def check(self) -> None:
        """Raises `InvalidOption` unless the range goes upwards."""
        super().check()
        if 0 < self.temperature_high < self.temperature:
            raise InvalidOption(
                "temperature_high", self.temperature_high, f"0, or at least the temperature, {self.temperature}",
                "give --temperature-high 0",
            )  # fmt: skip


@dataclass(kw_only=True)
class ControllerOptions(StageOptions):
    """What a controller looks like."""

    hidden_sizes: tuple[int, ...] = stage_option(
        (64,), "tanh units of the controller's hidden layers with PPO (none: linear)", identity=True, minimum=1
    )


# --- the command line ---------------------------------------------------------------------------------


def whole_number(text: str) -> int:
    """A whole number as people write it: 4000000, 4_000_000 or 4e6."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


whole_number.__name__ = "whole number"  # argparse says it in its error


def add_arguments(parser: argparse.ArgumentParser, options: type) -> None:
    """One --flag for each field of the dataclass `options`: its own first, those that stages share last."""
    hints = typing.get_type_hints(options)
    fields = dataclasses.fields(options)
    names = {"run", "round", *inspect.get_annotations(options)}
    own = [field for field in fields if field.name in names]
    for field in [*own, *(field for field in fields if field not in own)]:
        if "stages" in field.metadata:
            _add_passed_arguments(parser, field.metadata["stages"])
        else:
            explanation = f"{field.metadata.get('help', '')} (default: {field.default})"
            _add_argument(parser, field.name, hints[field.name], default=field.default, help=explanation)


def _add_passed_arguments(parser: argparse.ArgumentParser, stages: dict[str, StageKind]) -> None:
    """A --STAGE.OPTION for each option of other stages; --help of those stages explains them."""
    for stage, kind in stages.items():
        hints = typing.get_type_hints(kind.options)
        for name in kind.fields():
            unset: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
            _add_argument(parser, f"{stage}.{name}", hints[name], **unset)


def _add_argument(parser: argparse.ArgumentParser, name: str, kind: Any, **more: Any) -> None:
    flag = f"--{_flag(name)}"
    readers: dict[Any, Callable[[str], Any]] = {int: whole_number}
    if kind is bool:
        parser.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, **more)
    elif typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        parser.add_argument(flag, dest=name, nargs="*", type=readers.get(item, item), **more)
    else:
        parser.add_argument(flag, dest=name, type=readers.get(kind, kind), **more)


def from_arguments(options: type[Options], arguments: argparse.Namespace) -> Options:
    """The dataclass filled from parsed arguments."""
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(arguments).items()}
    values: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, options)):
        if "stages" in field.metadata:
            values[field.name] = {
                stage: {name: given[f"{stage}.{name}"] for name in kind.fields() if f"{stage}.{name}" in given}
                for stage, kind in field.metadata["stages"].items()
            }
        else:
            values[field.name] = given[field.name]
    return options(**values)


# --- records ------------------------------------------------------------------------------------------


def as_json(options: Any) -> dict[str, Any]:
    """The options as JSON values; those passed on to stages as "STAGE.OPTION"."""
    values = dataclasses.asdict(options)
    for field in dataclasses.fields(options):
        if "stages" in field.metadata:
            passed = values.pop(field.name)
            values |= {f"{stage}.{name}": value for stage, given in passed.items() for name, value in given.items()}
    return dict(json.loads(json.dumps(values, default=str)))


def record_options(path: Path, options: Any) -> None:
    """Keep the options of a stage at `path`; raises `OptionsDiffer` when the stage was started with others.

    Only the fields marked `identity` count: where the result goes and how many workers make it
    may change between a run and its resumption. An option that the record does not have came later.
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
        passed = _passed_identity(options)
        before = (given if known else dict.fromkeys(given)) | passed | record
        now = passed | given
        names = [*(field.name for field in fields), *passed]
        differing = {name: (before[name], now[name]) for name in names if before[name] != now[name]}
        if differing:
            shown = ", ".join(f"{n} {old!r} -> {new!r}" for n, (old, new) in differing.items())
            raise OptionsDiffer(
                "run folder", f"{path.parent} with {shown}", "the options it was begun with",
                "give those, or another --run folder",
            )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, given)


def _passed_identity(options: Any) -> dict[str, Any]:
    """The defaults of all identity options that can be passed on to stages, as "STAGE.OPTION"."""
    found = {
        f"{stage}.{name}": kind.default(name)
        for field in dataclasses.fields(options)
        for stage, kind in field.metadata.get("stages", {}).items()
        for name, passed in kind.fields().items()
        if passed.metadata["identity"]
    }
    return dict(json.loads(json.dumps(found, default=str)))


def _seen_from(folder: Path, place: str) -> str:
    """A file or folder as it is seen from `folder`; anything else, such as the name of a shipped world, stays."""
    return os.path.relpath(place, folder) if place and os.path.exists(place) else place


@contextlib.contextmanager
def check_run_options(path: Path, options: Any, begun: Path | None = None) -> Iterator[None]:
    """`record_options`, and remove the record again when the stage refuses the options, unless the file `begun` shows
    that the stage made something with them."""
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
