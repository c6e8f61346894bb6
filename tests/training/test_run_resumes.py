"""A run does what is left to do, keeps the best world in one place, and says what it did; no stage works here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import TINY_CONTROLLER, tiny_model
from training.__main__ import main
from training.infra.run_folder import RunFolder
from training.infra.worlds import find_folder, keep_best
from training.pipeline import run as pipeline
from training.pipeline.config import Run
from training.pipeline.journal import comparable
from training.pipeline.plan import Plan
from training.stages import collect
from wm_envs.errors import BrokenWorld, NoSpace
from wm_envs.worlds.bundle import read_config, read_controller, save_controller, save_world

SCORE = {"mean": 900.0, "std": 100.0, "interval": 20.0, "p10": 700.0, "episodes": 100}
Scores = dict[tuple[int, str], float]


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages that only write what the run looks for; the names of those that worked."""
    done: list[str] = []
    scores: Scores = {(0, "controller"): 500.0, (1, "controller"): 800.0, (2, "controller"): 700.0, (1, "tuned"): 900.0}

    def stage(name: str, work: Callable[[Any], Any]) -> None:
        def call(options: Any) -> Any:
            done.append(f"{name} {options.round}" if hasattr(options, "round") else name)
            return work(options)

        monkeypatch.setattr(getattr(pipeline, name), "main", call)

    def folder(options: Any) -> Any:
        return RunFolder(options.run).round(options.round)

    def learn(options: Any) -> dict[str, Any]:
        card = {"validation": SCORE | {"mean": scores[options.round, options.name]}}
        parameters = torch.zeros(TINY_CONTROLLER.parameters)
        save_controller(folder(options).world, options.name, TINY_CONTROLLER, parameters, card)
        return card

    def record(options: Any) -> collect.Collected:
        rollouts = RunFolder(options.run).rollouts
        rollouts.mkdir(exist_ok=True)
        return collect.Collected(parts=1, recorded=3, folder=str(rollouts))

    def train_memory(options: Any) -> dict[str, Any]:
        save_world(folder(options).world, tiny_model(end_bias=0.1 * options.round))
        return {"nll": 1.0}

    def train_vision(options: Any) -> dict[str, Any]:
        folder(options).path.mkdir(exist_ok=True)
        folder(options).vision.touch()
        return {"error": 2.0}

    stage("collect", record)
    stage("vision", train_vision)
    stage("memory", train_memory)
    stage("ppo", learn)
    stage("fidelity", lambda options: {"spearman": 0.9})
    stage("evaluate", lambda options: SCORE | {"controller": options.controller})
    stage("report", lambda options: {"report": str(options.run / "report.html"), "missing": []})
    monkeypatch.setattr(pipeline.collect, "missing_parts", lambda *given: [])
    monkeypatch.setattr(pipeline, "check_game", lambda task: None)
    return done


def run_it(run: Path, *words: str) -> int:
    (run / "report.html").parent.mkdir(parents=True, exist_ok=True)
    (run / "report.html").touch()
    return main(["run", "--run", str(run), *words])


ALL = ["collect 0", "vision 0", "memory 0", "ppo 0", "fidelity", "collect 1", "vision 1", "memory 1", "ppo 1",
       "fidelity", "evaluate", "report"]  # fmt: skip


def test_a_finished_run_does_nothing(worked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert run_it(run) == 0
    first = capsys.readouterr().out
    assert worked == ALL and "stage 3 of 12: memory, round 0\n" in first and "800 +- 100 in the game" in first
    commands = (f"--world {run}/best", f'gym.make("WMDream-v0", world="{run}/best")', f"{run}/report.html")
    score = "scores 900 +- 100 in the real game (95% interval 880 to 920, 100 test episodes)"
    for said in (score, "round 1", *commands):
        assert said in first
    results = (run / "results.json").read_bytes()
    worked.clear()
    assert run_it(run) == 0
    again = capsys.readouterr().out
    assert not worked and (run / "results.json").read_bytes() == results
    assert again.count("done before") == 12 and again.partition("\n\n")[2] == first.partition("\n\n")[2]
    moved = run.rename(tmp_path / "moved")
    assert run_it(moved) == 0 and not worked, "a run that is moved is done as well"


def test_what_is_missing_and_all_after_it_is_done_again(worked: list[str], tmp_path: Path) -> None:
    run_it(tmp_path)
    worked.clear()
    shutil.rmtree(tmp_path / "round-1" / "world")
    run_it(tmp_path)
    assert worked == ALL[7:]
    worked.clear()
    run_it(tmp_path, "--evaluate.episodes", "3")
    assert worked == ["evaluate", "report"], "with other options"
    worked.clear()
    run_it(tmp_path, "--rounds", "2", "--evaluate.episodes", "3")
    assert worked == ["collect 2", "memory 2", "ppo 2", "fidelity", "evaluate", "report"]


@pytest.mark.parametrize("stopped", range(len(ALL)))
def test_stopped_at_any_stage(worked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: int) -> None:
    whole = tmp_path / "whole"
    run_it(whole)
    expected = json.loads((whole / "results.json").read_text().replace(str(whole), "RUN"))
    worked.clear()

    class Full(list):  # the disk is full when a stage begins
        def append(self, name: str) -> None:
            if len(self) == stopped:
                raise NoSpace("disk", "no space left", "more", "free some space")
            super().append(name)

    run, names = tmp_path / "run", Full()
    for name in ("collect", "vision", "memory", "ppo", "fidelity", "evaluate", "report"):
        stage = getattr(pipeline, name)
        work = stage.main
        monkeypatch.setattr(stage, "main", lambda o, work=work: (names.append(""), work(o))[1])
    assert run_it(run) == 2 and len(worked) == stopped
    monkeypatch.setattr(Full, "append", list.append)
    assert run_it(run) == 0 and worked == ALL
    found = json.loads((run / "results.json").read_text().replace(str(run), "RUN"))
    timed = {"crc32": 0, "seconds": 0}
    assert {**found, **timed} == {**expected, **timed}


def test_the_best_world_has_one_name(worked: list[str], tmp_path: Path) -> None:
    run_it(tmp_path, "--rounds", "2", "--real-steps", "9")
    best, world = tmp_path / "best", tmp_path / "round-1" / "world"
    with pytest.raises(BrokenWorld, match=r"give .*/best, the best world of this run"):
        find_folder(tmp_path)
    assert find_folder(best) == best and read_config(best)["files"] == read_config(world)["files"]
    assert list(read_config(best)["controllers"]) == ["tuned", "controller"], "the best controller is the default"
    assert list(read_config(world)["controllers"]) == ["controller", "tuned"]
    assert read_controller(best)[0] == TINY_CONTROLLER
    assert not [path for path in tmp_path.rglob(".*") if path.suffix in (".tmp", ".old")]
    assert {path.name for path in best.iterdir()} == {"config.json", "controllers.safetensors", "world.safetensors"}


def test_a_best_world_is_replaced_as_a_whole(own_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = tmp_path / "best"
    keep_best(own_world, "controller", best)
    before = {path.name: path.read_bytes() for path in best.iterdir()}
    other = tmp_path / "other"
    save_world(other, tiny_model(end_bias=1.0))
    save_controller(other, "controller", TINY_CONTROLLER, torch.zeros(TINY_CONTROLLER.parameters))

    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("training.infra.worlds.write_json", full)
        with pytest.raises(OSError, match="No space"):
            keep_best(other, "controller", best)
    assert {path.name: path.read_bytes() for path in best.iterdir()} == before
    keep_best(other, "controller", best)
    assert read_config(best)["files"] == read_config(other)["files"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "other", "round-0"]


def test_what_does_not_change_a_result_is_not_compared() -> None:
    evaluate = Plan(Run()).evaluate
    assert set(comparable(evaluate)) == {"controller", "episodes", "first_seed", "renderer", "settings"}
