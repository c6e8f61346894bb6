"""The table of `benchmarks.games`, and the page of the documentation that is rendered from docs/games.json."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.game_cells import KINDS, ROOT, BaselinesCell, RunCell
from benchmarks.game_list import GAMES
from experiments.pixel_ppo import PixelScore
from training.infra.records import from_json, to_json
from training.judging.baselines import Baseline
from training.judging.scoring import Score
from wm_envs.files import JsonObject, write_text

KEPT, PAGE = ROOT / "docs/games.json", ROOT / "docs/experiments/games.md"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """A cell that was measured, or that failed with `error`."""

    game: str
    cell: str
    minutes: int  # of the run; baselines are the same for all
    options: JsonObject
    result: JsonObject = field(default_factory=dict)
    error: str = ""
    date: str
    commit: str
    command: str
    machine: str

    @property
    def key(self) -> tuple[str, str, int]:
        """What a later record replaces."""
        return self.game, self.cell, 0 if self.cell == "baselines" else self.minutes


Records = Sequence[Record]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A game with a budget; without a run, only its baselines are known."""

    game: str
    minutes: int | None
    run: RunCell | None = None
    baselines: BaselinesCell | None = None
    pixels: PixelScore | None = None
    pixels_10x: PixelScore | None = None
    errors: tuple[str, ...] = ()

    @property
    def beats(self) -> bool | None:
        """Whether the run is clearly better than PPO with ten times the frames: their 95% intervals do not meet."""
        if not (self.run and self.pixels_10x):
            return None
        return self.run.real.bounds[0] > self.pixels_10x.score.bounds[1]


def in_order(records: Iterable[Record]) -> Records:
    """The records in the order of the games."""
    return sorted(records, key=lambda record: (list(GAMES).index(record.game), record.minutes, record.cell))


def rows_of(records: Records) -> list[Row]:
    """The rows, in the order of the records."""
    found = []
    for game in dict.fromkeys(record.game for record in records):
        own = [record for record in records if record.game == game]
        budgets = sorted({record.minutes for record in own if record.cell != "baselines"})
        for minutes in budgets or [None]:
            of_row = [record for record in own if record.cell == "baselines" or record.minutes == minutes]
            cells: dict[str, Any] = {
                record.cell.replace("-", "_"): from_json(KINDS[record.cell], record.result, record.command)
                for record in of_row
                if not record.error
            }
            errors = tuple(f"{record.cell}: {record.error}" for record in of_row if record.error)
            found.append(Row(game=game, minutes=minutes, errors=errors, **cells))
    return found


# --- text -----------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """A score, with two decimals if it is small."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}"


def score(given: Score) -> str:
    """A mean with its 95% interval."""
    low, high = given.bounds
    return f"{number(given.mean)} ({number(low)} to {number(high)})"


def _blind(found: Baseline | None) -> str:
    return f"{score(found.score)}, {found.policy}" if found else ""


def _pixels(found: PixelScore | None) -> str:
    return f"{score(found.score)}, {found.frames:,} frames" if found else ""


SCORES: dict[str, Callable[[Row], str]] = {
    "game": lambda row: f"`{row.game}`",
    "`--minutes`": lambda row: str(row.minutes or ""),
    "random play": lambda row: score(row.baselines.random.score) if row.baselines else "",
    "best constant action": lambda row: _blind(row.baselines.constant) if row.baselines else "",
    "best script": lambda row: _blind(row.baselines.script) if row.baselines else "",
    "PPO on the pixels, as many frames": lambda row: _pixels(row.pixels),
    "PPO on the pixels, ten times as many": lambda row: _pixels(row.pixels_10x),
    "**the dream's controller**": lambda row: f"**{score(row.run.real)}**" if row.run else "",
    "clearly better than PPO with ten times the frames": lambda row: {None: "", True: "yes", False: "no"}[row.beats],
    "error": lambda row: "; ".join(row.errors).replace("|", "/"),
}
OF_RUNS: dict[str, Callable[[RunCell], str]] = {
    "in the dream": lambda run: score(run.dream),
    "fidelity: policies, Spearman, error": lambda run: f"{run.policies}, {run.spearman:.3f}, {run.relative_error:.1%}",
    "the first FIX of `doctor`": lambda run: run.doctor or "none",
    "took, memory": lambda run: f"{run.minutes:.0f} min, {run.peak_gib:.1f} GiB",
    "frames: collected + validation + other": lambda run: (
        f"{run.used:,} = {run.frames['collected'] + run.frames['collected later']:,} + {run.frames['validation']:,}"
        f" + {run.used - run.frames['collected'] - run.frames['collected later'] - run.frames['validation']:,}"
    ),
}


def table(header: Iterable[str], lines: Sequence[Sequence[str]]) -> str:
    """A table without its empty columns."""
    shown = [at for at in range(len(list(header))) if any(line[at] for line in lines)]
    all_lines = [list(header), ["---"] * len(list(header)), *lines]
    return "".join(f"| {' | '.join(line[at] for at in shown)} |\n" for line in all_lines)


def verdict(rows: Sequence[Row]) -> str:
    """On how many games the run is clearly better than PPO with ten times the frames."""
    judged = {row.game for row in rows if row.beats is not None}
    better = {row.game for row in rows if row.beats}
    if not judged:
        return "No game has both a run and PPO with ten times its frames yet."
    return f"The run clearly beats PPO with ten times its frames on {len(better)} of {len(judged)} games."


def markdown(records: Records) -> str:
    """The tables and the verdict."""
    rows = rows_of(records)
    parts = [table(SCORES, [[text(row) for text in SCORES.values()] for row in rows])] if rows else []
    runs = [(row, row.run) for row in rows if row.run]
    if runs:
        header = ["game", "`--minutes`", *OF_RUNS]
        lines = [[f"`{row.game}`", str(row.minutes), *(text(run) for text in OF_RUNS.values())] for row, run in runs]
        parts.append(table(header, lines))
    return "\n".join([*parts, f"{verdict(rows)}\n"])


# --- the documentation ----------------------------------------------------------------------------------


def kept() -> Records:
    """The results that the documentation has."""
    cells = json.loads(KEPT.read_text())["cells"] if KEPT.exists() else []
    return [from_json(Record, cell, KEPT) for cell in cells]


def keep(records: Records) -> None:
    """Add results to those of the documentation, in place of older ones of the same cells, and render the page.

    Errors are not kept.
    """
    known = {record.key: record for record in kept()} | {each.key: each for each in records if not each.error}
    ordered = in_order(known.values())
    lines = ",\n".join(f"    {json.dumps(to_json(record))}" for record in ordered)
    write_text(KEPT, f'{{\n  "schema": {SCHEMA},\n  "cells": [\n{lines}\n  ]\n}}\n')
    write_text(PAGE, page(ordered))


def page(records: Records) -> str:
    """docs/experiments/games.md."""
    commits = list(dict.fromkeys(record.commit for record in records))
    machines = list(dict.fromkeys(record.machine for record in records))
    word = "commit" if len(commits) == 1 else "commits"
    day = datetime.date.fromisoformat(max(record.date for record in records))
    return f"""# Twelve games

{day.day} {day:%B} {day.year}, {word} {", ".join(commits)}. `python -m benchmarks.games --keep`

`run --env` with default options, and what it is compared with. Scores are means of 100 test episodes with 95%
intervals. `docs/games.json` has every cell with its command. Measured on {"; ".join(machines)}.

{markdown(records).rpartition(chr(10) * 2)[0]}

**Conclusion: {verdict(rows_of(records))}**

- **Clearly better**: the 95% interval of the run is above that of PPO.
- **Frames**: all steps of the game that the run plays: what it collects in all rounds, the validations of controllers
  and fidelity, and first looks at the environment. The test episodes are not counted. A step of an Atari game is 4
  frames of the console.
- **Random play** draws an action at every step. The **best constant action** and the **best script** (constant actions,
  alternations and random holds) are chosen by 24 validation episodes each.
- **PPO on the pixels**: Stable-Baselines3, the same 64 x 64 pictures and actions, a stack of 4 frames, 8 environments,
  the hyperparameters for Atari, rewards divided by the spread of the returns. Ten checkpoints play 24 validation
  episodes each, which are not counted, and the best one plays the test episodes.
"""
