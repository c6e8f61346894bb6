"""Twelve games: `run --env` with default options against simple policies and PPO on the pixels, in one table.

    python -m benchmarks.games --games CartPole-v1 Pendulum-v1 --minutes 12 --cells run baselines pixels

Each cell of a row is a job with a JSON file of its own in OUT/GAME. What is there is not done again; a job that failed
is, and until then its row has the error. `--keep` adds what is in OUT to docs/games.json and renders
docs/experiments/games.md. Words after `--` are further options of `run`.

    pip install -e '.[train,games]' && pip install --no-deps flappy-bird-gymnasium==0.4.0
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.game_cells import CELLS, ROOT, Cell
from benchmarks.game_list import GAMES
from benchmarks.game_table import Record, Records, in_order, keep, kept, markdown
from experiments.scripts import number_or_word, run_script
from training.infra.records import read_result, to_json, write_result
from wm_envs.cli import terminate
from wm_envs.errors import OptionsDiffer
from wm_envs.files import file_lock, write_text

OF_THE_GAME = {"baselines"}  # cells that are the same for all budgets


def main(words: list[str] | None = None) -> None:
    """Do what is not done yet, and print the table."""
    words = sys.argv[1:] if words is None else words
    at = words.index("--") if "--" in words else len(words)
    given = parser().parse_args(words[:at])
    out: Path = given.out
    with file_lock(out / "table"):
        for game in given.games:
            for minutes in given.minutes:
                for name in given.cells:
                    do(game, name, make_cell(game, minutes, given, tuple(words[at + 1 :])))
                    write_text(out / "games.md", markdown(found_in(out)))
        if given.keep:
            keep(found_in(out))
    print(markdown(kept() if given.keep else found_in(out)))


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        "python -m benchmarks.games", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--games", nargs="*", choices=GAMES, default=list(GAMES), metavar="GAME", help=", ".join(GAMES)
    )
    options.add_argument("--minutes", type=int, nargs="+", default=[30], help="budgets of `run`: a row each")
    options.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), help="what to measure")
    options.add_argument("--out", type=Path, default=Path("runs/games"), help="folder of the jobs")
    options.add_argument("--frames", type=int, default=0, help="of PPO on the pixels (default: as the run)")
    options.add_argument("--episodes", type=int, default=100, help="test episodes")
    options.add_argument("--validate-episodes", type=int, default=24, help="of baselines and checkpoints of PPO")
    options.add_argument("--checkpoints", type=int, default=10, help="of PPO on the pixels")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--workers", type=number_or_word, default="cores", help="processes; cores: one per core")
    options.add_argument("--keep", action="store_true", help="add the results to those of the documentation")
    return options


def make_cell(game: str, minutes: int, given: argparse.Namespace, run_words: tuple[str, ...]) -> Cell:
    """The cells of a row have the same options."""
    return Cell(
        game=GAMES[game], minutes=minutes, folder=given.out / re.sub(r"\W+", "-", game), frames=given.frames,
        episodes=given.episodes, validate_episodes=given.validate_episodes, checkpoints=given.checkpoints,
        seed=given.seed, workers=0 if given.workers == "cores" else given.workers, run_words=run_words,
    )  # fmt: skip


def do(game: str, name: str, cell: Cell) -> None:
    """Measure a cell unless its file has it; an error is kept in the file, and the job is done again next time.

    Raises `OptionsDiffer` for a file of other options.
    """
    path = cell.folder / (f"{name}.json" if name in OF_THE_GAME else f"{name}-{cell.minutes}.json")
    title, options = f"{game}, {cell.minutes} minutes, {name}", options_of(name, cell)
    known = read_result(Record, path) if path.exists() else None
    if known and not known.error:
        if known.options != options:
            fix = "give these options again, another --out, or remove the file"
            raise OptionsDiffer("options", options, f"those of {path}, {known.options}", fix)
        print(f"{title}: done before", flush=True)
        return
    print(title, flush=True)
    cell.folder.mkdir(parents=True, exist_ok=True)
    result, error = {}, ""
    try:
        result = to_json(CELLS[name](cell))
    except Exception as raised:  # whatever it is, the table goes on
        traceback.print_exc()
        error = f"{type(raised).__name__}: {raised}".splitlines()[0]
    write_result(path, Record(
        game=game, cell=name, minutes=cell.minutes, options=options, result=result, error=error, commit=commit(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(), command=command_of(game, name, cell),
        machine=machine(),
    ))  # fmt: skip


def options_of(name: str, cell: Cell) -> dict[str, Any]:
    """The options that a cell depends on."""
    shared = ["episodes", "seed"] if name == "run" else ["episodes", "validate_episodes"]
    more = {"run": ["run_words"], "baselines": []}.get(name, ["frames", "checkpoints", "seed"])
    return {each: to_json(getattr(cell, each)) for each in [*shared, *more]}


def command_of(game: str, name: str, cell: Cell) -> str:
    """The command that measures a cell."""
    words = ["python -m benchmarks.games --games", game, "--cells", name]
    words += [] if name in OF_THE_GAME else ["--minutes", str(cell.minutes)]
    defaults = vars(parser().parse_args([]))
    for option, value in options_of(name, cell).items():
        if option in defaults and value != defaults[option]:
            words += [f"--{option.replace('_', '-')}", str(value)]
    more = options_of(name, cell).get("run_words")
    return " ".join([*words, *(["--", *more] if more else [])])


def found_in(out: Path) -> Records:
    """All results in a folder."""
    return in_order(read_result(Record, path) for path in out.glob("*/*.json") if "usage" not in path.name)


def commit() -> str:
    """The commit that is checked out, with a + if files differ from it."""
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()  # noqa: E731
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
    return git("rev-parse", "--short=7", "HEAD") + ("+" if changed else "")


def machine() -> str:
    """Processor, cores and memory."""
    try:
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {gib:.0f} GiB"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    run_script(main)
