"""Progress of long work: a bar with rate and time left, and CSV and TensorBoard logs of metrics."""

from __future__ import annotations

import csv
import io
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from wm_envs.files import write_text

COUNTS = "{made} of {whole} [{elapsed}<{remaining}, {speed}{postfix}]"
LINE, BAR = "{desc}: {percentage:3.0f}%, " + COUNTS, "{desc}: {percentage:3.0f}%|{bar}| " + COUNTS


def count(number: float) -> str:
    """A number of things: as it is below 10,000, else with three digits, as "2.04M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= max(size, 1e4):
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}" if number >= 100 or number == int(number) else f"{number:.2g}"


class _Lines:
    """A log in which each state of a bar is a line; a terminal overwrites the last state instead."""

    def __init__(self, log: TextIO) -> None:
        self.log = log

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            self.log.write(line + "\n")

    def flush(self) -> None:
        self.log.flush()


def _bar(**options: Any) -> Any:
    """A bar of tqdm, whose own counts have decimals."""
    from tqdm import tqdm  # of the extra 'train', which --help does not need

    class Bar(tqdm):
        @property
        def format_dict(self) -> dict[str, Any]:
            known: dict[str, Any] = super().format_dict
            rate = known["rate"] or (known["n"] - known["initial"]) / max(known["elapsed"], 1e-9)
            unit = known["unit"]
            speed = f"{count(rate)} {unit}/s" if rate >= 1 or not rate else f"{1 / rate:.3g} s for each of the {unit}"
            return known | {"made": count(known["n"]), "whole": count(known["total"]), "speed": speed}

    return Bar(**options)


class Progress:
    """A progress bar on a terminal, plain lines in a log, and the metrics of a stage in its folder.

    `log` appends a row to LOGS/STAGE.csv and to TensorBoard's event files, if TensorBoard is installed.
    """

    def __init__(self, stage: str, total: int, logs: Path, unit: str) -> None:
        self.stage, self.logs = stage, Path(logs)
        terminal = sys.stderr.isatty()
        self.bar = _bar(
            total=total, desc=stage, unit=unit, smoothing=0.05, mininterval=0.2 if terminal else 15.0,
            dynamic_ncols=terminal, bar_format=BAR if terminal else LINE,
            file=sys.stderr if terminal else _Lines(sys.stderr),
        )  # fmt: skip
        self.started = time.monotonic()
        self._writer: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self._writer:
            self._writer.close()

    def skip(self, done: int) -> None:
        """Count work of an earlier run; the rate leaves it out."""
        self.bar.initial = done
        self.bar.update(done)
        self.bar.start_t = self.bar.last_print_t = time.time()

    def update(self, done: int) -> None:
        """Count finished work."""
        self.bar.update(done)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Show metrics beside the bar, and append them to the CSV and TensorBoard logs."""
        self.bar.set_postfix({k: f"{v:.4g}" for k, v in metrics.items()}, refresh=False)
        self.logs.mkdir(parents=True, exist_ok=True)
        row = {"step": step, "seconds": round(time.monotonic() - self.started, 2)} | metrics
        _append(self.logs / f"{self.stage}.csv", row)
        for name, value in metrics.items():
            self._tensorboard(name, value, step)

    def _tensorboard(self, name: str, value: float, step: int) -> None:
        if self._writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:  # TensorBoard is optional: the CSV holds the same
                self._writer = False
            else:
                self._writer = SummaryWriter(str(self.logs / "tensorboard" / self.stage))
        if self._writer:
            self._writer.add_scalar(name, value, step)


def _append(path: Path, row: dict[str, float]) -> None:
    """Add a row to a CSV file; a new column extends the header."""
    names: list[str] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
            names = [name for name in (rows[0] if rows else {}) if name]
    if set(row) <= set(names):
        with path.open("a", newline="") as file:
            csv.DictWriter(file, names).writerow(row)
        return
    names += [name for name in row if name not in names]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows([*rows, row] if path.exists() else [row])
    write_text(path, text.getvalue())
