"""A stage that comes to harm at any write goes on as if it had not been (`make torture`: hundreds of times)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.helpers import ROOT

TIMES = {
    "kill": {"collect": 4, "vision": 3, "memory": 4, "evolve": 4, "ppo": 3, "evaluate": 2, "run": 1},
    "full": {
        "collect": 2,
        "vision": 2,
        "memory": 2,
        "evolve": 2,
        "ppo": 2,
        "evaluate": 2,
        "run": 1,
        "fidelity": 2,
        "publish": 3,
        "report": 1,
        "ablate": 3,
    },
    "interrupt": {
        "collect": 1,
        "vision": 2,
        "memory": 2,
        "evolve": 2,
        "ppo": 2,
        "evaluate": 1,
        "run": 1,
        "fidelity": 1,
        "publish": 2,
        "report": 1,
        "ablate": 2,
    },
    "readonly": {"collect": 3, "evolve": 2},
    "vanish": {"collect": 3, "evolve": 2},
    "clock": {"collect": 1, "evolve": 1},
}


WHOLE_RUNS = ("run", "ablate")  # half a minute each
CASES = [
    pytest.param(harm, stage, marks=[pytest.mark.slow] if stage in WHOLE_RUNS else [])
    for harm in TIMES
    for stage in TIMES[harm]
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("harm", "stage"), CASES)
def test_a_harmed_stage_goes_on_to_the_same_end(harm: str, stage: str) -> None:
    if stage in ("collect", "evaluate", "fidelity", "ablate", "run"):
        pytest.importorskip("Box2D")
    times = TIMES[harm][stage]
    command = [sys.executable, "-m", "tests.torture.kills", stage, str(times), "1", harm]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1])["times"] == times
