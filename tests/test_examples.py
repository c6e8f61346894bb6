"""The examples run, with small arguments."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

ELSEWHERE = {"onnx_dream", "paddle"}  # in test_export.py, which exports a world for it, and in test_any_env.py
SHORT = {
    "sb3_ppo": 8192, "policy_gradient": 3, "cma_es": 1, "branching": 5, "score_a_dream": 2, "from_tables_to_dreams": 5,
}  # fmt: skip


def test_all_examples_are_tested() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == SHORT.keys() | ELSEWHERE


@pytest.mark.parametrize("name", SHORT)
def test_example_runs(name: str) -> None:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), str(SHORT[name])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "ticks" in done.stdout
