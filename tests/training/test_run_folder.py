"""Where everything of a run is, and which round a stage means when it is not told."""

import re
from pathlib import Path

import pytest

from tests.helpers import ROOT
from training.infra.run_folder import RunFolder
from wm_envs.errors import BrokenStore


def make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_the_latest_round_with_a_world_or_a_v(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.world_round().number == 0 and run.vision_round(3).number == 3, "nothing is there"
    for number in (0, 1, 9, 10):
        make(run.round(number).world / "config.json")
    for number in (0, 2):
        make(run.round(number).vision)
    (tmp_path / "round-11").mkdir()
    (tmp_path / "round-x").mkdir()
    make(tmp_path / "round-12")
    assert [folder.number for folder in run.rounds()] == [0, 1, 2, 9, 10, 11]
    assert run.world_round().number == 10 and run.world_round(1).number == 1
    assert [run.vision_round(number).number for number in (0, 1, 2, 9)] == [0, 0, 2, 2]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BrokenStore, match="run"):
        RunFolder(tmp_path / "nowhere").check_exists()


def test_no_other_module_knows_the_layout() -> None:
    names = ("world", "world-untrained", "untrained", "rollouts", "latents", "logs", "pictures", "ppo", "evolve",
             "set-aside", "run.json", "results.json", "scores.json", "report.html", "options.json", "rows.json",
             "table.md", "history.json", "best.json", "vision.safetensors", "memory.safetensors",
             "policy.safetensors")  # fmt: skip
    part = re.compile(rf"""/ f?["']({"|".join(map(re.escape, names))})["']""")
    paths = [path for path in (ROOT / "training").rglob("*.py") if path.name != "run_folder.py"]
    assert not {path.name: found for path in paths if (found := part.findall(path.read_text()))}
