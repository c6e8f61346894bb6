"""A stage that comes to harm at any write goes on as if it had not been (`make torture`: hundreds of times)."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

TIMES = {
    "collect": {"kill": 4, "full": 2, "interrupt": 1, "readonly": 3, "vanish": 3, "clock": 1},
    "vision": {"kill": 3, "full": 2, "interrupt": 2},
    "memory": {"kill": 4, "full": 2, "interrupt": 2},
    "evolve": {"kill": 4, "full": 2, "interrupt": 2, "readonly": 2, "vanish": 2, "clock": 1},
    "ppo": {"kill": 3, "full": 2, "interrupt": 2},
    "evaluate": {"kill": 2, "full": 2, "interrupt": 1},
    "fidelity": {"full": 2, "interrupt": 1},
    "publish": {"full": 3, "interrupt": 2},
    "report": {"full": 1, "interrupt": 1},
    "run": {"kill": 1, "full": 1, "interrupt": 1},
    "ablate": {"full": 3, "interrupt": 2},
}
SLOW = ("run", "ablate")  # minutes each


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("stage", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TIMES])
def test_a_harmed_stage_goes_on_to_the_same_end(stage: str) -> None:
    if stage in ("collect", "evaluate", "fidelity", "ablate", "run"):
        pytest.importorskip("Box2D")
    harms = [f"{harm}={times}" for harm, times in TIMES[stage].items()]
    command = [sys.executable, "-m", "tests.torture.kills", stage, "1", "1", *harms]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert {row["harm"]: row["times"] for row in map(json.loads, done.stdout.splitlines())} == TIMES[stage]
