"""How a run spends its minutes, and what its stages have to reach."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.data.episode_store import Part
from training.infra.records import write_result
from training.judging.baselines import Baseline, Baselines
from training.judging.choices import Choices, Measured
from training.judging.memory_metrics import MemoryMetrics
from training.judging.motion import Motion
from training.judging.scoring import Score
from training.judging.vision_metrics import VisionMetrics
from training.pipeline import budget, gates
from training.pipeline.budget import Budget
from training.pipeline.config import ENV, Run
from training.pipeline.plan import Plan

SPEEDS = Measured(
    motion=Motion(pixels=0.7, episode_ticks=90.0),
    frames=500.0,
    steps=200.0,
    encoded=2_000.0,
    vision=10.0,
    memory=20.0,
    updates=0.5,
    dreams=100.0,
)


def planned(run: Path, **given: Any) -> Budget:
    """The budget of a run of Take Cover with the recipe of any environment, on a machine of these speeds."""
    plan = Plan(ENV.replace(task="takecover", run=run, recipe="env", workers=2, **given))
    run.mkdir(exist_ok=True)
    if not plan.folder.choices.exists():
        write_result(plan.folder.choices, Choices(SPEEDS))
    return Budget(plan, {})


def spend(made: Budget, clock: list[float], pace: float = 1.0) -> float:
    """Do all stages in the time that was planned, times `pace`; returns the seconds that all took."""
    steps = made.steps
    begun = clock[0]
    for at in range(len(steps)):
        step = made.sized(steps[at:])
        name = f"{step.where}/{step.name}"
        took = pace * made.choices.estimated[name]
        made.taken[name] = took
        clock[0] += took
    return clock[0] - begun


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("pace", [0.6, 1.0, 1.5])
def test_the_minutes_are_kept_also_by_a_machine_of_another_speed(
    tmp_path: Path, clock: list[float], pace: float
) -> None:
    assert spend(planned(tmp_path, minutes=60), clock, pace) == pytest.approx(3600, rel=0.15)


def test_a_slow_stage_stays_as_slow_in_all_rounds(tmp_path: Path, clock: list[float]) -> None:
    made = planned(tmp_path, minutes=60)
    spend(made, clock, pace=2.0)
    for number in (1, 2):
        assert made.taken[f"round {number}/ppo"] == pytest.approx(made.choices.planned[f"round {number}/ppo"])


def test_a_round_needs_half_of_its_time(tmp_path: Path, clock: list[float]) -> None:
    made = planned(tmp_path, minutes=60)
    steps = made.steps
    assert made.affords("round 2")
    clock[0] += 3300
    assert not made.affords("round 2")
    made.sized([step for step in steps if step.where == "round 2"])
    assert made.affords("round 2"), "it has begun"


def test_a_resumed_run_has_the_same_sizes(tmp_path: Path, clock: list[float]) -> None:
    first = planned(tmp_path, minutes=30)
    spend(first, clock)
    clock[0] += 1e6
    second = planned(tmp_path, minutes=45)
    steps = second.steps
    assert [second.sized(steps[at:]) for at in range(len(steps))] == [
        first.sized(steps[at:]) for at in range(len(steps))
    ]


def test_what_the_user_gives_is_not_changed(tmp_path: Path, clock: list[float]) -> None:
    given = {"own_frames": 777, "vision": ENV.vision.replace(batches=33)}
    made = planned(tmp_path, minutes=30, **given)
    spend(made, clock)
    assert "batches" not in made.choices.values["round 0/vision"]
    assert "frames" not in made.choices.values["round 1/collect"] and made.choices.values["round 0/collect"]["frames"]


def test_more_time_gives_more_of_everything(tmp_path: Path, clock: list[float]) -> None:
    short, long = planned(tmp_path / "short", minutes=10), planned(tmp_path / "long", minutes=100)
    spend(short, clock)
    spend(long, clock)
    for name, key in [("collect", "frames"), ("vision", "batches"), ("memory", "steps"), ("ppo", "total_timesteps")]:
        assert short.choices.values[f"round 0/{name}"][key] < long.choices.values[f"round 0/{name}"][key]


def test_a_stage_that_is_sent_back_has_time_of_its_own(tmp_path: Path, clock: list[float]) -> None:
    made = planned(tmp_path, minutes=30)
    steps = made.steps
    before = made.sized(steps[1:])
    assert not made.is_again("round 0", "vision")
    made.again("round 0", "vision", {"motion": 80.0})
    after = made.sized(steps[1:])
    assert before.command.config.motion == 20 and after.command.config.motion == 80
    assert made.sized([step for step in steps if step.where == "round 1"][1:]).command.config.motion == 80
    assert planned(tmp_path, minutes=30).is_again("round 0", "vision")
    assert planned(tmp_path, minutes=30).sized(steps[1:]) == after


def part(rewards: list[float], terminated: bool) -> Part:
    """A part of one episode."""
    size = len(rewards)
    return Part(0, Path(), np.zeros((size, 1), np.float32), np.array([size], np.int32), np.array([terminated]), {},
                np.array(rewards, np.float32))  # fmt: skip


@pytest.mark.parametrize(("rewards", "ends", "missing"), [
    ([0.0] * 5, False, "in 5 frames (1 episodes) of play every step paid 0, and no episode ended"),
    ([0.0, 1.0], False, ""), ([1.0, 1.0], True, ""),
])  # fmt: skip
def test_play_has_to_show_what_is_good(rewards: list[float], ends: bool, missing: str) -> None:
    assert gates.play([part(rewards, ends)]) == missing


def memory(nll: float, copy: float, shuffled: float) -> MemoryMetrics:
    return MemoryMetrics(nll=0, shuffled=0, marginal=0, floor=0, precision=0, recall=0, calibration=0,
                         moving_nll=nll, moving_copy=copy, moving_shuffled=shuffled)  # fmt: skip


@pytest.mark.parametrize(("metrics", "missing"), [
    (memory(0.5, 0.9, 0.6), ""), (memory(0.9, 0.9, 1.2), "no better than that it stays"),
    (memory(0.5, 0.9, 0.5), "M ignores actions"),
])  # fmt: skip
def test_m_has_to_predict_what_moves(metrics: MemoryMetrics, missing: str) -> None:
    assert missing in gates.memory(metrics) and bool(missing) == bool(gates.memory(metrics))


@pytest.mark.parametrize(("missed", "sentence"), [(0.2, ""), (0.93, "V leaves out 93% of what moves")])
def test_v_has_to_draw_what_moves(missed: float, sentence: str) -> None:
    metrics = VisionMetrics(error=1, moving_error=1, moving_error_per_pixel=1, unexplained=0, moving_unexplained=missed,
                            kl=1, active=9)  # fmt: skip
    assert gates.vision(metrics) == sentence


def test_c_has_to_beat_those_that_look_at_nothing() -> None:
    def score(mean: float) -> Score:
        return Score(mean=mean, std=1, interval=0.5, p10=0, episodes=20)

    rivals = Baselines(random=Baseline(policy="random", score=score(1)),
                       constant=Baseline(policy="constant 1", score=score(11)))  # fmt: skip
    assert gates.controller(score(13), rivals) == ""
    assert gates.controller(score(11.2), rivals) == (
        "the controller (11.2) is not better in the game than constant 1 (11)"
    )


def test_the_recipe_of_an_environment_has_minutes() -> None:
    assert ENV.minutes == 60 and Run().minutes == "none"
