"""The studies that are scripts: their help, and an error that the user can fix."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from experiments.scripts import run_script
from tests.helpers import ROOT

SCRIPTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.py") if "run_script(main)\n" in path.read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_of_a_script(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [f"experiments/{name}.py", "--help"])
    script = importlib.import_module(f"experiments.{name}")
    with pytest.raises(SystemExit) as stop:
        run_script(script.main)
    said = capsys.readouterr().out
    assert stop.value.code == 0 and said.startswith(f"usage: python -m experiments.{name} ")
    assert script.__doc__.splitlines()[0] in said and len(said.splitlines()) < 60


@pytest.mark.parametrize(("name", "words"), [
    ("budgets", ["nowhere"]), ("visions", ["nowhere"]), ("laps", ["takecovr"]), ("pixel_ppo", ["takecovr"]),
    ("cheating", ["--world", "takecovr"]), ("curiosity", ["--workers", "0"]),
])  # fmt: skip
def test_an_error_of_a_script_is_one_line(
    name: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit) as stop:
        run_script(importlib.import_module(f"experiments.{name}").main)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1
