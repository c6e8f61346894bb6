"""Controllers that cheat their dream: fireballs are counted, and the cheat is shown."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import cheating
from tests.helpers import ROOT


def test_fireballs_are_counted_while_an_episode_runs() -> None:
    one = [0, 0, 1, 1, 1, 0, 0, 2, 2, 2]  # three are born; in sight from the fourth step on: 1, 1, 1, 0, 0, 2, 2
    flickers = [0, 0, 1, 0, 0, 1, 1, 0, 1, 1]  # one is born, and shows through its one dark step
    ended = [0, 0, 1, 1, 1, -1, -1, -1, -1, -1]
    numbers = np.array([one, flickers, ended]).T
    assert [cheating.count(numbers[:, [which]]) for which in range(3)] == [(3, 7, 7), (1, 4, 7), (1, 2, 2)]
    assert cheating.count(numbers) == (5, 13, 16)
    picture = np.zeros((2, 64, 64, 3), np.uint8)
    picture[1, 30:32, [5, 6, 20]] = (240, 220, 90)  # two groups of columns
    assert cheating.fireballs(picture).tolist() == [0, 2]


def test_a_controller_that_cheats_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    command = [sys.executable, "-m", "experiments.cheating", "1", "--controllers", "tau-0.1", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    *_, row = done.stdout.strip().splitlines()
    name, *cells = row.strip("| ").split(" | ")
    ticks, in_sight = [float(cell) for cell in cells[:3]], [float(cell) for cell in cells[6:]]
    assert name == "tau-0.1" and ticks[0] > ticks[2] and in_sight[0] < in_sight[2]
    assert {path.name for path in tmp_path.iterdir()} == {"cheating.png", "cheating.gif"}
