"""The command line of a stage: one --flag for each of its options."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from training.infra.options import StageKind, StageOptions, flag

Options = TypeVar("Options", bound=StageOptions)
FIRST = ("task", "run", "round", "world")  # what --help shows first


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


def add_arguments(parser: argparse.ArgumentParser, options: type, defaults: Mapping[str, Any]) -> list[str]:
    """One --flag for each field of the dataclass `options`, with the defaults that --help shows; returns the flags.

    The game and the run come first, then the stage's own options, then those that stages share.
    """
    hints = typing.get_type_hints(options)
    fields = dataclasses.fields(options)
    own = inspect.get_annotations(options)

    def place(field: dataclasses.Field[Any]) -> int:
        return FIRST.index(field.name) if field.name in FIRST else len(FIRST) + (field.name not in own)

    flags: list[str] = []
    for field in sorted(fields, key=place):
        if "stages" in field.metadata:
            flags += _add_passed_arguments(parser, field.metadata["stages"])
        else:
            explanation = field.metadata["help"] + _shown_default(defaults.get(field.name, field.default))
            flags += _add_argument(parser, field.name, hints[field.name], explanation)
    return flags


def _shown_default(default: Any) -> str:
    """A default as --help shows it; nothing for an empty one."""
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f" (default: {shown})" if shown else ""


def _add_passed_arguments(parser: argparse.ArgumentParser, stages: dict[str, StageKind]) -> list[str]:
    """A --STAGE.OPTION for each option of other stages; --help of those stages explains them."""
    flags: list[str] = []
    for stage, kind in stages.items():
        hints = typing.get_type_hints(kind.options)
        for name in kind.fields():
            flags += _add_argument(parser, f"{stage}.{name}", hints[name], argparse.SUPPRESS)
    return flags


def _add_argument(parser: argparse.ArgumentParser, name: str, kind: Any, explanation: str) -> Sequence[str]:
    """One --flag; an option that is not given is not in the namespace."""
    more: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": explanation}
    readers: dict[Any, Callable[[str], Any]] = {int: whole_number}
    if kind is bool:
        more |= {"action": argparse.BooleanOptionalAction}
    elif typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        more |= {"nargs": "*", "type": readers.get(item, item)}
    else:
        more |= {"type": readers.get(kind, kind)}
    return parser.add_argument(f"--{flag(name)}", **more).option_strings


def from_arguments(options: type[Options], arguments: argparse.Namespace) -> Options:
    """The dataclass filled from parsed arguments, and from the defaults that follow from them."""
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(arguments).items()}
    values: dict[str, Any] = {}
    for field in dataclasses.fields(typing.cast(Any, options)):
        if "stages" in field.metadata:
            values[field.name] = {
                stage: {name: given[f"{stage}.{name}"] for name in kind.fields() if f"{stage}.{name}" in given}
                for stage, kind in field.metadata["stages"].items()
            }
        elif field.name in given:
            values[field.name] = given[field.name]
    return options.from_given(values)
