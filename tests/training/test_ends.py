"""A stage that is told to end says how to go on, leaves no process behind, and goes on when it is asked again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import ROOT, wait_for
from training.infra.run_folder import RunFolder
from training.judging.run_check import check_run

pytest.importorskip("Box2D")
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")

COLLECT = ["collect", "--task", "carracing", "--frames", "1600", "--part-frames", "200", "--workers", "2"]
PATIENCE = 60.0  # seconds


def command(run: Path) -> list[str]:
    return [sys.executable, "-m", "training", *COLLECT, "--run", str(run), "--json"]


def alive(session: int) -> list[int]:
    """Processes of a session that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(of) == session and state != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("signals", "status", "said"),
    [
        ((signal.SIGTERM,), {143}, "terminated; run the same command again"),
        ((signal.SIGINT,), {130}, "stopped; run the same command again"),
        ((signal.SIGINT, signal.SIGINT), {130, -signal.SIGINT, 1}, ""),
        ((signal.SIGKILL,), {-signal.SIGKILL}, ""),
    ],
    ids=["SIGTERM", "Ctrl-C", "Ctrl-C twice", "SIGKILL"],
)
def test_a_stage_that_is_ended(tmp_path: Path, signals: tuple[int, ...], status: set[int], said: str) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        command(run), cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    wait_for(lambda: list(run.glob("rollouts/part-*.zarr")), 4 * PATIENCE)
    for number in signals:  # a terminal sends Ctrl-C to the workers, too
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        time.sleep(0.1)
    error = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode in status and said in error and ("Traceback" not in error or not said), error
    wait_for(lambda: not alive(process.pid), PATIENCE)  # no worker is left

    done = {path: path.stat().st_mtime_ns for path in run.glob("rollouts/part-*.zarr")}
    assert 0 < len(done) < 8
    check_run(RunFolder(run), repair=False)  # raises when something is broken
    again = subprocess.run(command(run), cwd=ROOT, capture_output=True, text=True, timeout=10 * PATIENCE)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["parts"] == 8
    parts = sorted(run.glob("rollouts/part-*.zarr"))
    assert len(parts) == 8 and all(path.stat().st_mtime_ns == done[path] for path in done), "what was there stays"
    assert not [path for path in run.rglob(".*") if path.suffix in (".tmp", ".old")]
