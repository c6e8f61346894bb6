"""The seam to parallel work: the same results everywhere, workers that die or hang are replaced, none stays behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT
from training.infra.pool import Workers, run_jobs
from wm_envs.errors import WorkersLost

TWO = Workers(2)


def square(number: int) -> int:
    return number**2


def fail_on_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def first_time(folder: str, what: str) -> bool:
    """Whether nobody has asked this before; leaves a mark."""
    mark = Path(folder) / what
    first = not mark.exists()
    mark.touch()
    return first


def die_once(job: tuple[str, int]) -> int:
    """Job 2 kills its worker the first time."""
    if job[1] == 2 and first_time(job[0], "terminated"):
        os.kill(os.getpid(), signal.SIGKILL)
    return job[1]


def hang_once(job: tuple[str, int]) -> int:
    """Job 1 hangs the first time."""
    if job[1] == 1 and first_time(job[0], "hung"):
        time.sleep(600)
    return job[1]


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def wait_long(folder: str) -> None:
    (Path(folder) / f"pid-{os.getpid()}").touch()
    time.sleep(600)


@pytest.mark.parametrize("workers", [Workers(1), TWO, Workers(5)])
def test_results_do_not_depend_on_the_workers(workers: Workers) -> None:
    assert dict(run_jobs(square, range(7), workers)) == {n: n**2 for n in range(7)}
    assert not multiprocessing.active_children()


def test_no_jobs_are_no_work() -> None:
    assert list(run_jobs(square, [], TWO)) == []


@pytest.mark.parametrize("workers", [Workers(1), TWO])
def test_what_a_job_raises_is_raised_here(workers: Workers) -> None:
    with pytest.raises(ValueError, match="three"):
        list(run_jobs(fail_on_three, range(5), workers))
    assert not multiprocessing.active_children()


def test_jobs_of_a_worker_that_dies_are_done_again(tmp_path: Path) -> None:
    jobs = [(str(tmp_path), number) for number in range(5)]
    assert dict(run_jobs(die_once, jobs, TWO)) == {job: job[1] for job in jobs}
    assert (tmp_path / "terminated").exists() and not multiprocessing.active_children()


def test_jobs_of_a_worker_that_hangs_are_done_again(tmp_path: Path) -> None:
    jobs = [(str(tmp_path), number) for number in range(2)]
    assert dict(run_jobs(hang_once, jobs, TWO, patience=12.0)) == {job: job[1] for job in jobs}
    assert (tmp_path / "hung").exists() and not multiprocessing.active_children()


def test_workers_that_always_die_are_an_error_in_the_end() -> None:
    with pytest.raises(WorkersLost, match="workers"):
        list(run_jobs(die, range(2), TWO))
    assert not multiprocessing.active_children()


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
        "from tests.training.test_pool import wait_long; from training.infra.pool import Workers, run_jobs\n"
        f"if __name__ == '__main__': list(run_jobs(wait_long, [{str(tmp_path)!r}] * 2, Workers(2)))\n"
    )
    (tmp_path / "main.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "main.py")], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )
    workers = wait_for(lambda: [int(p.name[4:]) for p in tmp_path.glob("pid-*")], lambda found: len(found) == 2)
    parent.send_signal(number)
    parent.wait(120)
    assert not wait_for(lambda: [pid for pid in workers if alive(pid)], lambda left: not left)


def wait_for(look: Any, good: Any, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not good(value := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
