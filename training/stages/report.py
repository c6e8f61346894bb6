"""The results of a run as one HTML file that needs no network.

It shows curves of every stage, reconstructions and latent traversals of V, a recorded episode beside what M expected of
it, filmstrips of game and dream, fidelity, tables, the population, the options, and the command that repeats the run. A
section without data says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from training.config.base import Text
from training.config.commands import Command as BaseCommand
from training.config.commands import InRun
from wm_envs.files import write_text


class Command(BaseCommand, InRun):
    """Write the report of a run."""

    to: Text = Field("", description="file to write (default: report.html in the run folder)")


@dataclass(frozen=True, kw_only=True)
class Written:
    """The file of the report, and the titles of the sections without data."""

    report: str
    missing: tuple[str, ...]


def main(command: Command) -> Written:
    """Write the report; returns its path and the sections without data."""
    from training.reporting.report_page import make_page  # of the extra 'train', which --help does not need

    run = command.run_folder
    run.check_exists()
    page, missing = make_page(run)
    target = Path(command.to) if command.to else run.report
    write_text(target, page)
    return Written(report=str(target), missing=tuple(missing))
