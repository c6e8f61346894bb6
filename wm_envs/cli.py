"""The command line: tyro fills a typed value from words, and every mistake is one line."""

from __future__ import annotations

import contextlib
import io
import itertools
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
        raise UnknownName("option", _in_place(word, words), f"an option of {program}", f"see `{program} --help`{near}")
    return value


def peek(words: Sequence[str], name: str) -> str:
    """The value that the words give to an option, the last one as for tyro; "" without."""
    return next(iter(_values(words, name)), "")


def _values(words: Sequence[str], name: str) -> list[str]:
    """The words that follow the last --name; a negative number is one of them."""
    values: list[str] = []
    for at, word in enumerate(words):
        option, _, value = word.partition("=")
        if option.replace("_", "-") == f"--{name}":
            following = itertools.takewhile(lambda word: not word.startswith("--"), words[at + 1 :])
            values = [value] if "=" in word else list(following)
    return values


def _in_place(word: str, words: Sequence[str]) -> str:
    """A word that tyro does not know; if it is no option itself, with the option before it."""
    at = next((at for at, each in enumerate(words) if each in (word, f"{each.partition('=')[0]}={word}")), 0)
    before = next((each.partition("=")[0] for each in reversed(words[: at + 1]) if each.startswith("--")), "")
    return word if word.startswith("-") or not before else f"{word} after {before}"


def _typed(stop: SystemExit, said: str, words: Sequence[str], program: str) -> WorldModelError:
    """The error behind tyro's exit: ours, if a configuration raised it, else tyro's own words in one line."""
    cause: BaseException | None = stop
    while cause is not None and not isinstance(cause, WorldModelError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return _with_full_name(cause, words)
    message = " ".join(said.replace("│", " ").split())  # tyro draws a box
    name = next(iter(re.findall(r"--([\w.-]*[\w])", message)), "")
    given, expected, near = " ".join(_values(words, name)) or "nothing", message, ""
    if choices := re.search(r"Expected (one of \((.*?)\))", message):
        expected, near = choices[1], did_you_mean(given, re.findall("'([^']+)'", choices[2]))
    elif count := re.search(r"Expected (\d+) values", message):
        expected = "a value" if count[1] == "1" else f"{count[1]} values"
    elif metavar := re.search(rf"helptext:[^-]*--{re.escape(name)} ([^\n│]+)", said):
        expected = _in_words(metavar[1])
    fix = f"give --{name} such a value" if expected != message else f"see `{program} --help`"
    return InvalidOption(name.replace("-", "_"), given, expected, fix + near)


def _in_words(metavar: str) -> str:
    """What stands for a value in --help, such as INT|{none}, in words."""
    many = "..." in metavar or " " in metavar.strip()
    names = {"INT": "whole numbers" if many else "a whole number", "FLOAT": "numbers" if many else "a number"}
    parts = dict.fromkeys(re.findall(r"\w[^|{}\[\]. ]*", metavar))
    return " or ".join(names.get(part, part) for part in parts)


def _with_full_name(error: WorldModelError, words: Sequence[str]) -> WorldModelError:
    """The error of a nested configuration, which does not know its own name, with the option's full name."""
    flag = error.field.replace("_", "-")
    options = [word.partition("=")[0].removeprefix("--").replace("_", "-") for word in words if word.startswith("--")]
    named = [option for option in options if option == flag or option.endswith(f".{flag}")]
    full = next((option for option in named if _stands_for(_values(words, option), error.given)), "")
    full = full or next(iter(named), flag)
    fix = re.sub(rf"--{re.escape(flag)}(?![\w.-])", f"--{full}", error.fix)
    return type(error)(full.replace("-", "_"), error.given, error.expected, fix)


def _stands_for(values: Sequence[str], given: object) -> bool:
    """Whether one of the words is the value."""
    for word in values:
        with contextlib.suppress(ValueError):
            if word == str(given) or float(word) == given:
                return True
    return False


def _flags(program: str, default: object) -> list[str]:
    """All options, from the text of --help."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(type(default), args=["--help"], default=default, prog=program, config=(tyro.conf.AvoidSubcommands,))
    return [word.rstrip(",") for word in text.getvalue().split() if word.startswith("--")]
