"""The command line: tyro fills a typed value from words, and every mistake is one line."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro

from wm_envs.errors import InvalidOption, UnknownName, WorldModelError, did_you_mean

Value = TypeVar("Value")


class Terminated(BaseException):
    """Raised on SIGTERM, so that workers and games are closed."""


def terminate(*_: object) -> None:
    """The handler of SIGTERM."""
    raise Terminated


def run_cli(work: Callable[[], int], again: str = "run the same command again to continue") -> int:
    """What `work` returns, or the exit status of its error: 2 for one that the user can fix, 130 for Ctrl-C, 143 for
    SIGTERM."""
    try:
        return work()
    except WorldModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # no space, no permission, a folder that vanished
        what = ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)
        print(f"error: {what}; fix that and {again}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; {again}", file=sys.stderr)
        return 130
    except Terminated:
        print(f"terminated; {again}", file=sys.stderr)
        return 143


def parse(program: str, description: str, default: Value, words: Sequence[str], *more: Any) -> Value:
    """`default`, a dataclass or a pydantic model, with the options that the words give. `more` are markers of
    `tyro.conf` that change how tyro reads them.

    Raises `UnknownName` for an unknown option, `InvalidOption` for a wrong value; --help prints and exits.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            value, unknown = tyro.cli(
                type(default),
                args=list(words),
                default=default,
                prog=program,
                description=description,
                config=(tyro.conf.AvoidSubcommands, *more),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        raise _typed(stop, said.getvalue(), words, program) from None
    if unknown:
        word = next((word for word in unknown if word.startswith("-")), unknown[0]).partition("=")[0]
        near = did_you_mean(word, _flags(program, default))
        raise UnknownName("option", word, f"an option of {program}", f"see `{program} --help`{near}")
    return value


def number_or_word(text: str) -> int | str:
    """A number of workers, or the word `cores`."""
    return int(text) if text.isdecimal() else text


def peek(words: Sequence[str], *names: str) -> str:
    """The value that the words give to the first of these options that they have; "" without."""
    for name in names:
        for at, word in enumerate(words):
            if word.startswith(f"--{name}="):
                return word.partition("=")[2]
            if word == f"--{name}" and at + 1 < len(words):
                return words[at + 1]
    return ""


def _typed(stop: SystemExit, said: str, words: Sequence[str], program: str) -> WorldModelError:
    """The error behind tyro's exit: ours, if a configuration raised it, else tyro's own words in one line."""
    cause: BaseException | None = stop
    while cause is not None and not isinstance(cause, WorldModelError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:  # of a nested configuration, which does not know its own name
        flags = [word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words if word.startswith("--")]
        cause.args = (str(cause).replace(f"{cause.field}:", f"{_full_name(cause.field, flags)}:", 1),)
        return cause
    parts = re.split("[─-]{4,}", " ".join(said.replace("│", " ").split()))  # tyro draws a box, and lines in it
    message = next((part.strip() for part in parts if "--" in part), said)
    option = next(iter(re.findall(r"--[\w.-]+", message)), "--help")
    told = re.search(r"Expected (one of \(.*?\))|no type matching (\S+)", message)
    expected = next((part for part in told.groups() if part), "") if told else message.partition(f"{option}: ")[2]
    name = option.removeprefix("--")
    given = peek(words, name) or "nothing"
    near = did_you_mean(given, re.findall(r"'([^']+)'", expected))
    return InvalidOption(name.replace("-", "_"), given, expected or message, f"see `{program} --help`{near}")


def _full_name(field: str, flags: list[str]) -> str:
    return next((name for name in flags if name == field or name.endswith(f".{field}")), field)


def _flags(program: str, default: object) -> list[str]:
    """All options, from the text of --help."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(type(default), args=["--help"], default=default, prog=program, config=(tyro.conf.AvoidSubcommands,))
    return [word.rstrip(",") for word in text.getvalue().split() if word.startswith("--")]
