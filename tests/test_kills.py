"""A stage killed at any write goes on as if it had not been; `make torture` does this hundreds of times."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

KILLS = {"collect": 6, "vision": 6, "memory": 8, "evolve": 8, "ppo": 6, "evaluate": 3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("stage", KILLS)
def test_a_killed_stage_goes_on_to_the_same_end(stage: str) -> None:
    if stage in ("collect", "evaluate"):
        pytest.importorskip("Box2D")
    command = [sys.executable, str(ROOT / "tests" / "kills.py"), stage, str(KILLS[stage]), "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1])["kills"] == KILLS[stage]
