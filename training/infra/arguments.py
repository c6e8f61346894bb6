"""The command line of a stage: one --flag for each of its options."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from training.infra.options import StageKind, flag

Options = TypeVar("Options")


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
            explanation = field.metadata["help"] + _shown_default(field.default)
            _add_argument(parser, field.name, hints[field.name], default=field.default, help=explanation)


def _shown_default(default: Any) -> str:
    """A default as --help shows it; nothing for an empty one."""
    shown = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f" (default: {shown})" if shown else ""


def _add_passed_arguments(parser: argparse.ArgumentParser, stages: dict[str, StageKind]) -> None:
    """A --STAGE.OPTION for each option of other stages; --help of those stages explains them."""
    for stage, kind in stages.items():
        hints = typing.get_type_hints(kind.options)
        for name in kind.fields():
            unset: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
            _add_argument(parser, f"{stage}.{name}", hints[name], **unset)


def _add_argument(parser: argparse.ArgumentParser, name: str, kind: Any, **more: Any) -> None:
    word = f"--{flag(name)}"
    readers: dict[Any, Callable[[str], Any]] = {int: whole_number}
    if kind is bool:
        parser.add_argument(word, dest=name, action=argparse.BooleanOptionalAction, **more)
    elif typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        parser.add_argument(word, dest=name, nargs="*", type=readers.get(item, item), **more)
    else:
        parser.add_argument(word, dest=name, type=readers.get(kind, kind), **more)


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
