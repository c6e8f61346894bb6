"""The seam to a Ray cluster: the same results as here, workers that die or hang are replaced. Needs the extra `ray`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_pool import die, die_once, fail_on_three, hang_once, square
from training.acting.policies import RandomHolds
from training.acting.rollout import real_returns
from training.infra.pool import Workers, run_jobs
from wm_envs.errors import InvalidOption, WorkersLost

ray = pytest.importorskip("ray")
HERE = Workers(ray="local")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ends the cluster that the first job starts."""
    yield
    ray.shutdown()


def test_a_cluster_that_is_not_there_is_named_within_seconds() -> None:
    before = time.monotonic()
    with pytest.raises(InvalidOption, match="ray"):
        list(run_jobs(square, range(3), Workers(ray="127.0.0.1:1")))
    assert time.monotonic() - before < 60  # not a figure of speed: that it does not wait for ever


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
class TestCluster:
    def test_results_and_errors_are_those_of_the_jobs(self) -> None:
        assert dict(run_jobs(square, range(7), HERE)) == {n: n**2 for n in range(7)}
        with pytest.raises(ValueError, match="three"):
            list(run_jobs(fail_on_three, range(5), HERE))

    def test_jobs_of_a_worker_that_dies_are_done_again(self, tmp_path: Path) -> None:
        jobs = [(str(tmp_path), number) for number in range(5)]
        assert dict(run_jobs(die_once, jobs, HERE)) == {job: job[1] for job in jobs}

    def test_jobs_of_a_worker_that_hangs_are_done_again(self, tmp_path: Path) -> None:
        jobs = [(str(tmp_path), number) for number in range(2)]
        assert dict(run_jobs(hang_once, jobs, HERE, patience=10.0)) == {job: job[1] for job in jobs}

    def test_workers_that_always_die_are_an_error_in_the_end(self) -> None:
        with pytest.raises(WorkersLost, match="workers"):
            list(run_jobs(die, range(2), HERE))

    def test_the_real_game_is_the_same_in_this_process_in_others_and_there(self, tiny_drive: Path) -> None:
        pytest.importorskip("Box2D")
        policies = [RandomHolds("hold", 5, 20)]
        found = [real_returns(tiny_drive, policies, list(range(16)), w)["hold"] for w in (Workers(1), Workers(2), HERE)]
        assert len(set(found[0])) > 4
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])
