"""The seam to parallel work: the same results everywhere, workers that die or hang are replaced, none stays behind.

Everywhere is also a Ray cluster, which needs the extra `ray`.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import ROOT, wait_for
from tests.training.jobs import die, die_once, fail_on_three, hang_once, square
from training.acting.policies import RandomHolds
from training.acting.rollout import real_returns
from training.infra.pool import Workers, run_jobs
from wm_envs.errors import InvalidOption, WorkersLost

HERE, TWO = Workers(1), Workers(2)
NEEDS_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray")
ON_RAY = pytest.param(Workers(ray="local"), marks=[pytest.mark.slow, NEEDS_RAY], id="ray")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Ends the cluster that the first job on Ray starts."""
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [HERE, TWO, Workers(5), ON_RAY])
def test_results_do_not_depend_on_the_workers(workers: Workers) -> None:
    assert dict(run_jobs(square, range(7), workers)) == {n: n**2 for n in range(7)}
    assert list(run_jobs(square, [], workers)) == []


@pytest.mark.parametrize("workers", [HERE, TWO, ON_RAY])
def test_what_a_job_raises_is_raised_here(workers: Workers) -> None:
    with pytest.raises(ValueError, match="three"):
        list(run_jobs(fail_on_three, range(5), workers))


@pytest.mark.parametrize("workers", [TWO, ON_RAY])
def test_jobs_of_a_worker_that_dies_are_done_again(workers: Workers, tmp_path: Path) -> None:
    jobs = [(str(tmp_path), number) for number in range(5)]
    assert dict(run_jobs(die_once, jobs, workers)) == {job: job[1] for job in jobs}
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize("workers", [TWO, ON_RAY])
def test_jobs_of_a_worker_that_hangs_are_done_again(workers: Workers, tmp_path: Path) -> None:
    jobs = [(str(tmp_path), number) for number in range(2)]
    assert dict(run_jobs(hang_once, jobs, workers, patience=10.0 if workers.ray else 6.0)) == {j: j[1] for j in jobs}
    assert (tmp_path / "hung").exists()


@pytest.mark.parametrize("workers", [TWO, ON_RAY])
def test_workers_that_always_die_are_an_error_in_the_end(workers: Workers) -> None:
    with pytest.raises(WorkersLost, match="workers"):
        list(run_jobs(die, range(2), workers))


def test_a_consumer_that_stops_leaves_no_worker_behind(tmp_path: Path) -> None:
    results = run_jobs(hang_once, [(str(tmp_path), number) for number in range(2)], TWO)
    assert next(results)[1] == 0
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, number: int) -> None:
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "from tests.training.jobs import wait_long; from training.infra.pool import Workers, run_jobs\n"
        f"if __name__ == '__main__': list(run_jobs(wait_long, [{str(tmp_path)!r}] * 2, Workers(2)))\n"
    )
    script, environment = tmp_path / "main.py", os.environ | {"PYTHONPATH": str(ROOT)}
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    workers = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
    parent.send_signal(number)
    parent.wait(120)
    wait_for(lambda: not any(map(alive, workers)))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@NEEDS_RAY
def test_a_cluster_that_is_not_there_is_named_within_seconds() -> None:
    before = time.monotonic()
    with pytest.raises(InvalidOption, match="ray"):
        list(run_jobs(square, range(3), Workers(ray="127.0.0.1:1")))
    assert time.monotonic() - before < 60  # not a figure of speed: that it does not wait for ever


@pytest.mark.slow
@NEEDS_RAY
def test_the_real_game_is_the_same_in_this_process_in_others_and_on_ray(tiny_drive: Path) -> None:
    pytest.importorskip("Box2D")
    policies, places = [RandomHolds("hold", 5, 20)], (HERE, TWO, Workers(ray="local"))
    found = [real_returns(tiny_drive, policies, list(range(16)), workers)["hold"] for workers in places]
    assert len(set(found[0])) > 4
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
