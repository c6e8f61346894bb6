"""Who plays for the next round of a run, and what M learns in it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import TINY_CONTROLLER, tiny_model
from training.infra.arguments import add_arguments, from_arguments
from training.infra.options import as_json, record_options
from training.infra.records import to_json
from training.infra.run_folder import RunFolder
from training.judging.scoring import Card, Score
from training.pipelines.plan import STAGES, RunOptions, RunRecord, make_plan
from training.pipelines.run import _players
from training.stages.memory import MemoryOptions
from wm_envs.errors import InvalidOption, OptionsDiffer
from wm_envs.worlds.bundle import save_controller, save_world


def drivers(run: Path, scores: dict[str, float]) -> None:
    """The world of each round, with a controller that had such a score."""
    for number, (name, score) in enumerate(scores.items()):
        world = RunFolder(run).round(number).world
        save_world(world, tiny_model())
        card = Card(dream=Score.of(np.array([-score])), validation=Score.of(np.array([score])))
        parameters = torch.zeros(TINY_CONTROLLER.parameters)
        save_controller(world, name.split()[0], TINY_CONTROLLER, parameters, to_json(card))


@pytest.mark.parametrize(("scores", "given", "players"), [
    ({"controller": 300.0}, {}, ["round-0/world:controller"]),
    ({"explorer": 500.0}, {"explore_steps": 1}, ["round-0/world:explorer"]),
    ({"explorer": 500.0, "controller": -10.0}, {"explore_steps": 1},
     ["round-1/world:controller", "round-0/world:explorer"]),
    ({"explorer": 500.0, "controller": 600.0}, {"explore_steps": 1}, ["round-1/world:controller"]),
    ({"controller": 7.0, "controller 1": 9.0, "controller 2": 8.0}, {},
     ["round-2/world:controller", "round-1/world:controller"]),
    ({"controller": 7.0, "controller 1": 7.0}, {}, ["round-1/world:controller"]),
    ({"controller": 7.0, "controller 1": 5.0}, {"stages": {"ppo": {"validate_episodes": 0}}},
     ["round-1/world:controller"]),  # dreams differ
])  # fmt: skip
def test_the_last_plays_and_the_best(
    tmp_path: Path, scores: dict[str, float], given: dict[str, Any], players: list[str]
) -> None:
    drivers(tmp_path, scores)
    found = _players(RunOptions(run=tmp_path, **given), len(scores))
    assert [name.removeprefix(f"{tmp_path}/") for name in found] == players


@pytest.mark.parametrize(("explore_steps", "number", "steps", "rate", "has_next"), [
    (0, 0, 900, 1, False), (0, 1, 600, 1 / 2, True), (0, 2, 600, 1 / 2, True),
    (5, 0, 300, 1, False), (5, 1, 900, 1, False), (5, 2, 600, 2 / 3, True),
])  # fmt: skip
def test_with_an_explorer_m_begins_anew_once_there_are_roads(
    tmp_path: Path, explore_steps: int, number: int, steps: int, rate: float, has_next: bool
) -> None:
    given = RunOptions(run=tmp_path, rounds=2, explore_steps=explore_steps, stages={"memory": {"steps": 900}})
    lesson = make_plan(given).rounds[number].memory
    assert lesson.steps == steps and bool(lesson.start) == has_next
    assert lesson.learning_rate == pytest.approx(MemoryOptions.learning_rate * rate)


# --- options that the run passes on -------------------------------------------------------------------


def parse(*words: str) -> RunOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser, RunOptions, {})
    return from_arguments(RunOptions, parser.parse_args(words))


def test_stages_get_what_was_given_and_else_the_defaults_of_the_run(tmp_path: Path) -> None:
    words = ["--ppo.total-timesteps", "4e6", "--ppo.hidden-sizes", "8", "8", "--no-memory.calibrate", "--rounds", "2",
             "--vision.batches", "90", "--fidelity.episodes", "7", "--real-steps", "1_000"]  # fmt: skip
    plan = make_plan(parse("--run", str(tmp_path), *words))
    first, second, last = plan.rounds
    assert first.learner.total_timesteps == 4_000_000 and first.learner.hidden_sizes == (8, 8)
    assert [each.vision and each.vision.batches for each in plan.rounds] == [90, 30, None]
    assert second.vision.start == str(tmp_path / "round-0" / "vision.safetensors")
    assert first.memory.steps == 20_000_000 and first.memory.latent_dropout == 0.5 and not first.memory.calibrate
    assert [each.collect.frames for each in plan.rounds] == [2_000_000, 800_000, 800_000]
    assert last.fidelity.episodes == 7 and last.fidelity.temperature == pytest.approx(1.35)
    assert plan.tuned and plan.tuned.hidden_sizes == (8, 8) and plan.tuned.total_timesteps == 1000
    assert plan.evaluate.controller == "tuned" and list(plan.as_json()) == ["round 0", "round 1", "round 2", "tuned",
                                                                            "final"]  # fmt: skip


@pytest.mark.parametrize(("stage", "name", "value"), [
    ("collect", "frames", 0), ("vision", "batches", 0), ("vision", "learning_rate", -1.0), ("memory", "steps", 0.5),
    ("memory", "latent_dropout", 1.0), ("ppo", "gamma", 2.0), ("evolve", "population", 1), ("fidelity", "dreams", 1),
    ("fidelity", "epsilons", (2.0,)), ("evaluate", "episodes", 0), ("evaluate", "settings", ("lap",)),
])  # fmt: skip
def test_a_wrong_value_for_any_stage_is_refused_first(tmp_path: Path, stage: str, name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=name):
        make_plan(RunOptions(run=tmp_path, stages={stage: {name: value}}))


def test_what_the_run_itself_sets_cannot_be_given() -> None:
    for stage, kind in STAGES.items():
        assert {"run", "round", "seed"}.isdisjoint(kind.fields())
        with pytest.raises(SystemExit):
            parse(f"--{stage}.seed", "1")


def test_a_run_goes_on_with_its_own_options_for_stages(tmp_path: Path) -> None:
    path = tmp_path / "run.json"

    def record(**stages: dict[str, Any]) -> None:
        options = RunOptions(run=tmp_path, stages=stages)
        record_options(path, RunRecord(**vars(options), plan=make_plan(options).as_json()))

    record(ppo={"gamma": 0.9})
    record(ppo={"gamma": 0.9}, evaluate={"episodes": 3}, vision={"batches": 6000})
    with pytest.raises(OptionsDiffer, match=r"ppo\.gamma 0\.9 -> 0\.985"):
        record()
    with pytest.raises(OptionsDiffer, match=r"vision\.batches 6000 -> 3"):
        record(ppo={"gamma": 0.9}, vision={"batches": 3})
    assert as_json(RunOptions(stages={"ppo": {"gamma": 0.9}}))["ppo.gamma"] == 0.9
