"""Progress: lines in a log, a bar on a terminal, CSV and TensorBoard files that continue."""

import csv
import os
import re
import struct
from pathlib import Path

import pytest

from training.infra.progress import Progress, count


def work(run: Path, done: int = 0) -> None:
    with Progress("vision", 10, run / "logs", "batches") as progress:
        progress.skip(done)
        for step in range(done, 10):
            progress.update(1)
            progress.log(step, {"error": 10.0 - step} | ({"extra": 1.0} if step > 4 else {}))


def test_a_log_gets_plain_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work(tmp_path)
    said = capsys.readouterr().err
    assert "\r" not in said and said.endswith("\n")
    last = said.splitlines()[-1]
    assert re.fullmatch(r"vision: 100%, 10 of 10 \[[\d:]+<[\d:]+, .*, error=1, extra=1\]", last), last


def test_a_terminal_gets_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    inside, outside = os.openpty()
    fcntl.ioctl(outside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with os.fdopen(outside, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        work(tmp_path)
        terminal.flush()
        said = os.read(inside, 1 << 16).decode()
    os.close(inside)
    assert "\r" in said and "100%|" in said and "batches" in said


def test_curves_continue_after_a_resume(tmp_path: Path) -> None:
    work(tmp_path, 5)
    work(tmp_path, 8)
    with (tmp_path / "logs" / "vision.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["5", "6", "7", "8", "9", "8", "9"] and rows[0]["error"] == "5.0"
    pytest.importorskip("tensorboard")
    assert list((tmp_path / "logs" / "tensorboard" / "vision").glob("events*"))


@pytest.mark.parametrize(("number", "shown"), [
    (0, "0"), (10, "10"), (0.42, "0.42"), (7.46, "7.5"), (4096, "4096"), (123.4, "123"), (20_000, "20k"),
    (2_040_000, "2.04M"), (3e9, "3G"),
])  # fmt: skip
def test_counts_have_few_digits(number: float, shown: str) -> None:
    assert count(number) == shown
