"""Who plays for the next round of a run, and what M learns in it."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import TINY_CONTROLLER, record, tiny_model
from training.__main__ import TRAINING
from training.config.records import recorded
from training.infra.records import read_record, to_json
from training.infra.run_folder import RunFolder
from training.judging.scoring import Card, Score
from training.pipeline.config import RECIPES, Run
from training.pipeline.plan import Plan
from training.pipeline.run import _players
from training.reporting.report_page import run_command
from training.stages import memory
from training.stages.ppo import PpoConfig
from wm_envs.errors import InvalidOption, OptionsDiffer, UnknownName
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
    ({"controller": 7.0, "controller 1": 5.0}, {"ppo": PpoConfig(validate_episodes=0)},
     ["round-1/world:controller"]),  # dreams differ
])  # fmt: skip
def test_who_plays_next(tmp_path: Path, scores: dict[str, float], given: dict[str, Any], players: list[str]) -> None:
    drivers(tmp_path, scores)
    found = _players(Run(run=tmp_path, **given), len(scores))
    assert [name.removeprefix(f"{tmp_path}/") for name in found] == players


@pytest.mark.parametrize(("explore_steps", "number", "steps", "rate", "has_next"), [
    (0, 0, 900, 1, False), (0, 1, 600, 1 / 2, True), (0, 2, 600, 1 / 2, True),
    (5, 0, 300, 1, False), (5, 1, 900, 1, False), (5, 2, 600, 2 / 3, True),
])  # fmt: skip
def test_with_an_explorer_m_begins_anew_once_there_are_roads(
    tmp_path: Path, explore_steps: int, number: int, steps: int, rate: float, has_next: bool
) -> None:
    config = memory.of_kind("mdn-rnn", steps=900)
    planned = Plan(Run(run=tmp_path, rounds=2, explore_steps=explore_steps, memory=config)).rounds[number].memory
    assert planned.config.steps == steps and bool(planned.start) == has_next
    assert planned.config.learning_rate == pytest.approx(config.learning_rate * rate)


@pytest.mark.parametrize(("explore_steps", "starts"), [(0, ["same", 0, 1]), (5, ["same", "same", 1])])
def test_c_continues_where_m_does(tmp_path: Path, explore_steps: int, starts: list[int | str]) -> None:
    run = Run(run=tmp_path, rounds=2, explore_steps=explore_steps, continue_controller=True)
    learners = [planned.learner for planned in Plan(run).rounds]
    assert [learner.start_round for learner in learners] == starts
    assert [learner.start for learner in learners] == ["" if each == "same" else "controller" for each in starts]
    assert not any(planned.learner.start for planned in Plan(run.replace(continue_controller=False)).rounds)


def parse(*words: str) -> Run:
    command = TRAINING.parse("run", list(words))
    assert isinstance(command, Run)
    return command


def test_stages_get_what_was_given_and_else_the_defaults_of_the_run(tmp_path: Path) -> None:
    words = ["--ppo.total-timesteps", "4e6", "--ppo.hidden-sizes", "8", "8", "--memory.no-calibrate", "--rounds", "2",
             "--vision.batches", "90", "--fidelity.episodes", "7", "--real-steps", "1_000"]  # fmt: skip
    plan = Plan(parse("--run", str(tmp_path), *words))
    first, second, last = plan.rounds
    assert first.learner.config == PpoConfig(total_timesteps=4_000_000, hidden_sizes=(8, 8))
    assert [planned.vision and planned.vision.config.batches for planned in plan.rounds] == [90, 30, None]
    assert second.vision and second.vision.start == str(tmp_path / "round-0" / "vision.safetensors")
    trained = first.memory.config
    assert trained.steps == 20_000_000 and trained.latent_dropout == 0.5 and not trained.calibrate
    assert [planned.collect.config.frames for planned in plan.rounds] == [2_000_000, 800_000, 800_000]
    assert last.fidelity and last.fidelity.config.episodes == 7
    assert last.fidelity.config.temperature == pytest.approx(1.35)
    assert plan.tuned and plan.tuned.config.hidden_sizes == (8, 8) and plan.tuned.config.total_timesteps == 1000
    assert plan.evaluate.controller == "tuned"
    places = list(dict.fromkeys(step.where for step in plan.steps()))
    assert places == ["round 0", "round 1", "round 2", "tuned", "final"]


@pytest.mark.parametrize(("stage", "name", "value"), [
    ("collect", "frames", 0), ("vision", "batches", 0), ("vision", "learning_rate", -1.0), ("memory", "steps", 0.5),
    ("memory", "latent_dropout", 1.0), ("ppo", "gamma", 2.0), ("evolve", "population", 1), ("fidelity", "dreams", 1),
    ("fidelity", "epsilons", (2.0,)), ("evaluate", "episodes", 0), ("evaluate", "settings", ("lap",)),
])  # fmt: skip
def test_a_wrong_value_for_any_stage_is_refused_first(stage: str, name: str, value: Any) -> None:
    values = Run().as_json()
    with pytest.raises(InvalidOption, match=name):
        Run.from_json(values | {stage: values[stage] | {name: value}})


@pytest.mark.parametrize("stage", ["collect", "vision", "memory", "ppo", "evolve", "fidelity", "evaluate"])
def test_what_the_run_itself_sets_cannot_be_given(stage: str) -> None:
    assert {"run", "round", "seed"}.isdisjoint(getattr(Run(), stage).as_json())
    with pytest.raises(UnknownName, match=f"--{stage}.seed"):
        parse(f"--{stage}.seed", "1")


def test_a_run_goes_on_with_its_own_options_for_stages(tmp_path: Path) -> None:
    def go_on(*words: str) -> None:
        record(tmp_path / "run.json", parse("--run", str(tmp_path), *words))

    go_on("--ppo.gamma", "0.9")
    go_on("--ppo.gamma", "0.9", "--evaluate.episodes", "3", "--vision.batches", "6000")
    with pytest.raises(OptionsDiffer, match=r"ppo\.gamma 0\.9 -> 0\.985"):
        go_on()
    with pytest.raises(OptionsDiffer, match=r"vision\.batches 6000 -> 3"):
        go_on("--ppo.gamma", "0.9", "--vision.batches", "3")


def test_the_record_of_an_earlier_release_has_no_minutes(tmp_path: Path) -> None:
    """What follows from them is recorded; 0 stood for none."""
    path, run = tmp_path / "run.json", parse("--run", str(tmp_path))
    path.write_text(json.dumps(run.as_json() | {"minutes": 0}))
    record(path, run)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_value_that_goes_through_json(name: str) -> None:
    recipe = RECIPES[name]
    assert Run.from_json(recipe.as_json()) == recipe == parse("--recipe", name).replace(recipe="")
    assert Plan(recipe).steps()


@pytest.mark.parametrize("words", [
    *(["--recipe", name] for name in RECIPES), ["--recipe", "carracing", "--real-settings", "--ppo.hidden-sizes"],
    ["--env", "CartPole-v1", "--minutes", "7", "--env-kwargs", '{"render_mode": "rgb_array"}', "--run", "a run's"],
    ["--vision.kind", "column-vae", "--memory.kind", "autoregressive", "--collect.objects", "--memory.no-calibrate"],
])  # fmt: skip
def test_the_command_that_makes_it_again(tmp_path: Path, words: list[str]) -> None:
    """The command in the report gives the run that is recorded."""
    run = parse(*words)
    with recorded(tmp_path / "run.json", run):
        command = shlex.split(run_command(read_record(tmp_path / "run.json")))
    assert command[:4] == ["python", "-m", "training", "run"] and parse(*command[4:]) == run


def test_the_recipe_of_a_game_is_its_default() -> None:
    drive = parse("--task", "carracing")
    assert drive == RECIPES["carracing-paper"] and str(drive.run_folder.path) == "runs/carracing"
    few = parse("--task", "carracing", "--rounds", "1", "--memory.steps", "9")
    assert few == drive.replace(rounds=1, memory=drive.memory.replace(steps=9))
    assert parse() == RECIPES["takecover-paper"]
    columns = parse("--vision.kind", "column-vae", "--vision.per-column", "2")
    assert columns.vision.kind == "column-vae" and columns.vision.batches == 6_000


def test_an_environment_has_a_recipe_of_its_own() -> None:
    run = parse("--env", "CartPole-v1", "--minutes", "9")
    assert run == RECIPES["env"].replace(env="CartPole-v1", minutes=9) and run.base == RECIPES["env"]
    assert str(run.run_folder.path) == "runs/cartpole-v1"
    with pytest.raises(UnknownName, match=r"did you mean 'carracing'"):
        parse("--recipe", "car-racing")
