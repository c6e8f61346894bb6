"""What the studies that are scripts share: their options, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from wm_envs.cli import run_cli


def script_parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """The options of `python -m experiments.NAME`; its --help begins with the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m experiments.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def number_or_word(text: str) -> int | str:
    """A number of workers, or the word `cores`."""
    return int(text) if text.isdecimal() else text


def run_script(main: Callable[[], None]) -> NoReturn:
    """Run a study; an error that the user can fix is one line, as for the stages."""

    def work() -> int:
        main()
        return 0

    sys.exit(run_cli(work))
