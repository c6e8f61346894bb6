"""The results of a run as one HTML file that needs no network.

It shows curves of every stage, reconstructions and latent traversals of V, a recorded episode beside what M expected of
it, filmstrips of game and dream, fidelity, tables, the population, the options, and the command that repeats the run. A
section without data says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.infra.option_groups import RunOption
from training.infra.options import check_options, stage_option
from training.infra.run_folder import RunFolder
from wm_envs.files import write_text


@dataclass
class ReportOptions(RunOption):
    """Write the report of a run."""

    to: str = stage_option("", "file to write (default: report.html in the run folder)")


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """The file of the report, and the titles of its sections without data."""

    report: str
    missing: tuple[str, ...]


def main(options: ReportOptions) -> ReportResult:
    """Write the report."""
    from training.reporting.report_page import make_page  # of the extra 'train', which --help does not need

    check_options(options)
    run = RunFolder(options.run)
    run.check_exists()
    page, missing = make_page(run)
    target = Path(options.to) if options.to else run.report
    write_text(target, page)
    return ReportResult(report=str(target), missing=tuple(missing))
