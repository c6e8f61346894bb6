"""The best policies that look at nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import make_tiny_world
from training.acting.rollout import Played, RealJob
from training.infra.pool import Workers
from training.judging import baselines
from training.judging.baselines import FEW, FINALISTS, Baseline, Baselines, measure_baselines
from training.judging.scoring import VALIDATION_SEEDS, Score
from wm_envs.worlds.bundle import read_config

VALUES = {"random": 1.0, "constant (1.0,)": 9.0, "alternate 40": 5.0}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[RealJob]:
    """All jobs; no game is opened, a policy has its value, and 0.5 more in every second episode."""
    jobs: list[RealJob] = []

    def play(job: RealJob) -> list[Played]:
        jobs.append(job)
        return [Played(VALUES.get(job.policy.name, 0.0) + 0.5 * (seed % 2), False) for seed in job.seeds]

    monkeypatch.setattr(baselines, "play_real", play)
    monkeypatch.setattr(baselines, "check_game", lambda task: None)
    monkeypatch.setattr("training.judging.returns.stored_file", lambda task: Path("nowhere"))
    return jobs


def measure(tmp_path: Path, **given: Any) -> Baselines:
    world = tmp_path / "world"
    if not world.exists():
        make_tiny_world(world)
    return measure_baselines(world, 10, Workers(1), tmp_path / "cache.json", **given)


def test_the_best_constant_and_the_best_script_play_all_episodes(tmp_path: Path, played: list[RealJob]) -> None:
    found = measure(tmp_path)
    assert found.random.policy == "random" and found.random.score.mean == 1.25 and found.random.score.episodes == 10
    assert found.constant and found.constant.policy == "constant (1.0,)" and found.constant.score.mean == 9.25
    assert found.script and found.script.policy == "alternate 40" and found.best == found.constant
    whole = {job.policy.name for job in played if job.seeds[0] != VALIDATION_SEEDS}
    assert len(whole) == 1 + 2 * FINALISTS and not found.untried
    assert max(len(job.seeds) for job in played) == FEW


def test_what_is_stored_is_not_played_again(tmp_path: Path, played: list[RealJob]) -> None:
    first = measure(tmp_path)
    played.clear()
    assert measure(tmp_path) == first and not played


def test_a_slow_game_is_played_for_a_bounded_time(
    tmp_path: Path, played: list[RealJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.judging.baselines.time.monotonic", lambda: 10.0 * len(played))
    found = measure(tmp_path, seconds=30.0)
    assert len(played) <= 4, "at most one further episode after the deadline"
    assert found.constant and not found.script and "alternate 40" in found.untried
    assert found.random.score.episodes == FEW, "no time for more"
    never = measure_baselines(tmp_path / "world", 2, Workers(1), seconds=0.0)
    assert never.best == never.random and never.constant is None


def test_a_controller_beats_them_beyond_the_interval() -> None:
    of = lambda mean, noise: Score.of(mean + noise * np.array([-1.0, 1.0] * 12))  # noqa: E731
    found = Baselines(random=Baseline(policy="random", score=of(0.0, 1.0)),
                      constant=Baseline(policy="constant up", score=of(11.0, 0.5)))  # fmt: skip
    assert found.best.policy == "constant up"
    assert found.beaten_by(of(12.0, 0.5)) and not found.beaten_by(of(11.2, 0.5)) and not found.beaten_by(of(9.0, 0.1))


def test_they_play_the_game_of_an_environment(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    make_tiny_world(tmp_path / "world")
    found = measure_baselines(tmp_path / "world", 2, Workers(1), seconds=0.0)
    assert found.random.score.mean > 50 and read_config(tmp_path / "world")["controllers"]
