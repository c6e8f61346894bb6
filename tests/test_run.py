"""Who plays for the next round of a run, and what M learns in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY_CONTROLLER, tiny_model

from training.infra.run_folder import RunFolder
from training.pipelines.run import RunOptions, _players, make_plan
from training.stages.memory import MemoryOptions
from wm_envs.models.bundle import save_controller, save_world


def drivers(run: Path, scores: dict[str, float]) -> None:
    """The world of each round, with a controller that had such a score."""
    for number, (name, score) in enumerate(scores.items()):
        world = RunFolder(run).round(number).world
        save_world(world, tiny_model())
        card = {"dream": {"mean": -score}, "validation": {"mean": score}}
        save_controller(world, name.split()[0], TINY_CONTROLLER, torch.zeros(TINY_CONTROLLER.parameters), card)


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
