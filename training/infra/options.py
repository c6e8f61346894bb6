"""Options of a stage: a typed dataclass whose fields declare help texts and bounds, with a JSON record in the run
folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from training.infra.records import read_record
from wm_envs.errors import InvalidOption, OptionsDiffer, UnknownName, did_you_mean
from wm_envs.files import write_json

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


@dataclass
class StageOptions:
    """Base of all options."""

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults that follow from the options `given` on the command line, as the run folder from the game."""
        return {}

    @classmethod
    def from_given(cls, given: Mapping[str, Any]) -> Self:
        """The options of a command line."""
        return cls(**{**cls.defaults(given), **given})

    def check(self) -> None:
        """Raises `InvalidOption` for values that do not fit together."""


# --- checking -----------------------------------------------------------------------------------------


def check_options(options: StageOptions, prefix: str = "") -> None:
    """Raises `InvalidOption` or `UnknownName` for the first value that its field does not accept, then for values that
    do not fit together (`options.check()`). Names in errors start with `prefix`."""
    kinds = typing.get_type_hints(type(options))
    for field in dataclasses.fields(options):
        if "bounds" in field.metadata:
            kind, value = kinds[field.name], getattr(options, field.name)
            items = value if typing.get_origin(kind) is tuple else [value]
            if not isinstance(items, list | tuple):
                raise InvalidOption(prefix + field.name, value, "a list of values", f"give --{flag(field.name)} A B")
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
            fix = f"give --{flag(name)} {bounds.choices[0]}, for example{did_you_mean(value, bounds.choices)}"
            raise InvalidOption(name, value, expected, fix)
    elif not isinstance(value, str | Path if kind is Path else kind):
        raise InvalidOption(name, value, f"a value of type {kind.__name__}", f"give --{flag(name)} such a value")
    if bounds.check is not None:
        bounds.check(name, value)


def _check_whole_number(name: str, value: Any, bounds: Bounds) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not bounds.contain(value):
        expected = f"a whole number {bounds}".strip()
        fix = f"give --{flag(name)} {bounds.minimum} or more" if str(bounds) else f"give --{flag(name)} 1, for example"
        raise InvalidOption(name, value, expected, fix)


def _check_number(name: str, value: Any, bounds: Bounds) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not bounds.contain(value):
        expected = f"a finite number {bounds}".strip()
        raise InvalidOption(name, value, expected, f"give --{flag(name)} such a number")


def flag(name: str) -> str:
    """A name as the command line has it."""
    return name.replace("_", "-")


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
                "run folder", f"{path.parent} with {shown}", "the options it was started with",
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
def check_run_options(path: Path, options: Any, started: Path | None = None) -> Iterator[None]:
    """`record_options`, and remove the record again when the stage refuses the options, unless the file `started` shows
    that the stage made something with them."""
    fresh = not path.exists()
    record_options(path, options)
    try:
        yield
    except (InvalidOption, UnknownName, OptionsDiffer):
        if fresh and not (started and started.exists()):
            path.unlink(missing_ok=True)
            _remove_unused(path.parent)
        raise


def _remove_unused(folder: Path) -> None:
    """Remove a folder that holds nothing but locks, and the folders above it that are empty then."""
    with contextlib.suppress(OSError):
        if all(path.name.startswith(".") and path.suffix == ".lock" for path in folder.iterdir()):
            for path in folder.iterdir():
                path.unlink()
            for each in (folder, *folder.parents):
                each.rmdir()  # fails where something is left
