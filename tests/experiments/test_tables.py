"""Tables of learners, and the policies they and the fidelity battery play."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments import ablate, compare, tables, transfer
from experiments.__main__ import EXPERIMENTS
from experiments.ablate import Command as AblateCommand
from experiments.compare import Command as CompareCommand
from experiments.tables import as_markdown
from experiments.transfer import Command as TransferCommand
from tests.experiments.test_components import WORLDS
from tests.helpers import TINY_DRIVE, evolve_options, one_line_error, tiny_model
from training.__main__ import main
from training.acting.policies import ControllerPolicy, EpsilonRandomPolicy
from training.infra.records import read_result, write_result
from training.judging.battery import open_loop_battery
from training.judging.returns import StoredReturns
from training.judging.scoring import VALIDATION_SEEDS, Score
from training.judging.table_rows import TableFile
from training.stages import evolve, fidelity, ppo
from training.stages.fidelity import Command as FidelityCommand
from wm_envs.envs.dreams import Dreams
from wm_envs.errors import BrokenStore, OptionsDiffer
from wm_envs.games.registry import get_task
from wm_envs.models.controller import ControllerConfig
from wm_envs.worlds.bundle import load_world, read_config, save_world

SMALL: dict[str, Any] = {"validate_episodes": 1, "episodes": 2, "renderer": "fast", "workers": 1, "hidden_sizes": (4,)}
SEARCH: dict[str, Any] = {"population": 4, "rollouts": 1, "validate_every": 1}
MAKERS: dict[str, Callable[[Path], Any]] = {
    "transfer": lambda run: transfer.main(
        TransferCommand.flat(run=run, temperatures=(0.5,), ppo_steps=1, generations=1, **SEARCH, **SMALL)
    ),
    "ablations": lambda run: ablate.main(AblateCommand.flat(run=run, steps=64, **SMALL)),
    "learners": lambda run: compare.main(CompareCommand.flat(run=run, steps=200, points=2, **SEARCH, **SMALL)),
}
UNTRAINED = ["C on z only", "C on z and the h of an untrained M"]
CMA_ES = "CMA-ES, linear, as in the paper (4 candidates, 1 dreams each)"
ROWS = {
    "transfer": ["temperature 0.5", "random, holds of 1-5 ticks", "best open loop", *UNTRAINED],
    "ablations": [*list(ablate.SEEN)[::4], "random play"],
    "learners": ["PPO, 4 tanh hidden units", "PPO, linear", CMA_ES, "random play"],
}


@pytest.fixture
def run(own_drive: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder with a small random world of CarRacing, whose learners are given next to nothing."""
    few = ppo.IN_THE_GAME.replace(num_envs=2, n_steps=16, batch_size=32, n_epochs=1)
    monkeypatch.setattr(ppo, "IN_THE_GAME", few)
    monkeypatch.setattr(transfer, "OPEN_LOOPS", (40, 80))
    monkeypatch.setattr(ablate, "SEEN", {name: ablate.SEEN[name] for name in ROWS["ablations"][:-1]})
    return own_drive.parent.parent


@pytest.mark.parametrize("name", MAKERS)
def test_a_table_of_the_real_game(run: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = MAKERS[name]
    rows = make(run)["rows"]
    assert [row.policy for row in rows] == ROWS[name]
    assert all(row.real.episodes == 2 and row.real.finished == 0 for row in rows)
    assert [row.policy for row in rows if row.dream] == ([*ROWS[name][:1], "C on z only"] if name == "transfer" else [])
    written = (run / "round-0" / name / "table.md").read_text()
    assert written == as_markdown(rows) and written.count("\n") == len(rows) + 2 and "goal reached" in written
    if name == "learners":
        curves = [row.curve for row in rows[:3]]
        assert [[at for at, _ in curve] for curve in curves[:2]] == [[16_384], [16_384]]  # of one update
        steps = [at for at, _ in curves[2]]
        assert steps == sorted(steps) and steps[-2] < 200 <= steps[-1]
        assert not any("curve" in entry["card"] for entry in read_config(run / "round-0/world")["controllers"].values())

    path = run / "round-0" / name / "rows.json"
    kept = read_result(TableFile, path)
    assert list(kept.rows) == rows
    write_result(path, dataclasses.replace(kept, rows=kept.rows[:-1]))
    played = []
    last = (rows[-1].real, [])
    monkeypatch.setattr(tables, "game_score", lambda world, policy, *rest: played.append(policy.name) or last)
    assert make(run)["rows"] == rows and played == [rows[-1].player], "only what is missing is made"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ablate", "--steps", "0"], "steps"),
        (["ablate", "--validate-episodes", "0"], "validate_episodes"),
        (["compare", "--temperature", "2"], "temperature_high"),
        (["compare", "--hidden-sizes"], "hidden_sizes"),
        (["ablate", "--hidden-sizes"], "hidden_sizes"),
        (["compare", "--steps", "-1"], "steps"),
        (["compare", "--points", "0"], "points"),
        (["transfer", "--ppo-steps", "0"], "ppo_steps"),
        (["transfer", "--learner", "luck"], "learner"),
        (["transfers"], "transfer"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in one_line_error(EXPERIMENTS.main, [*words, "--run", str(tmp_path / "run")], capsys)
    assert not [*tmp_path.glob("run/*")]


def test_a_table_is_of_its_options(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablate, "SEEN", {})
    monkeypatch.setattr(tables, "game_score", lambda *given: (Score.of(np.ones(2)), []))
    ablate.main(AblateCommand.flat(run=run, **SMALL))
    for _ in range(2):  # a table that is refused is left to others
        with pytest.raises(OptionsDiffer, match="episodes 2 -> 3"):
            ablate.main(AblateCommand.flat(run=run, **SMALL | {"episodes": 3}))
    world = (run / "round-0/world", tiny_model(0.1, TINY_DRIVE))
    save_world(*world)
    with pytest.raises(OptionsDiffer, match="another V and M"):
        ablate.main(AblateCommand.flat(run=run, **SMALL))
    shutil.rmtree(run / "round-0" / "ablations")
    ablate.main(AblateCommand.flat(run=run, **SMALL))
    (run / "round-0" / "ablations" / "rows.json").write_text('{"rows": [3]}')
    with pytest.raises(BrokenStore, match="rows"):
        ablate.main(AblateCommand.flat(run=run, **SMALL))


def test_options_that_a_stage_refuses_are_not_those_of_its_table(run: Path) -> None:
    """Else neither these nor those that the stage asks for would be taken."""
    few = {"temperatures": (0.5,), "ablations": False} | SMALL
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transfer, "_with_dreams", lambda *given: sys.exit())  # stopped before the first row
        with pytest.raises(SystemExit):
            transfer.main(TransferCommand.flat(run=run, ppo_steps=1, **few))
    shutil.rmtree(run / "round-0" / "transfer")
    with pytest.raises(OptionsDiffer, match="steps 1 -> 2"):
        transfer.main(TransferCommand.flat(run=run, ppo_steps=2, **few))
    rows = transfer.main(TransferCommand.flat(run=run, ppo_steps=1, **few))["rows"]
    assert [row.policy for row in rows] == ROWS["transfer"][:3]
    rows = transfer.main(TransferCommand.flat(run=run, ppo_steps=1, **few | {"temperatures": ()}))["rows"]
    assert [row.policy for row in rows] == ROWS["transfer"][1:3], "what is asked for"


@pytest.mark.parametrize("kind", WORLDS)
def test_an_untrained_memory_is_of_the_kind_of_the_trained_one(kind: str, tmp_path: Path) -> None:
    world = WORLDS[kind]()
    save_world(tmp_path, tables.untrained_memory(world, 5))
    read = load_world(tmp_path)
    assert type(read.memory) is type(world.memory) and read.config.memory == world.config.memory
    assert not torch.allclose(read.memory.head.weight, world.memory.head.weight)


def test_without_a_run_a_table_is_of_the_shipped_world(
    tiny_drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is copied, and stays as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ablate, "SEEN", {})
    found = [TransferCommand(**given) for given in ({}, {"task": "carracing"}, {"run": tmp_path}, {"world": "a/b"})]
    assert [(each.source, str(each.run_folder.path)) for each in found] == [
        ("takecover", "runs/tables-takecover"), ("carracing", "runs/tables-carracing"), ("", str(tmp_path)),
        ("a/b", "runs/tables-b"),
    ]  # fmt: skip
    before = {path.name: path.read_bytes() for path in tiny_drive.iterdir()}
    few = ["--validate-episodes", "1", "--episodes", "1", "--renderer", "fast", "--workers", "1"]
    for _ in range(2):
        assert EXPERIMENTS.main(["ablate", "--world", str(tiny_drive), *few]) == 0
    assert (tmp_path / f"runs/tables-{tiny_drive.name}/round-0/ablations/table.md").exists()
    assert {path.name: path.read_bytes() for path in tiny_drive.iterdir()} == before
    assert EXPERIMENTS.main(["ablate", "--world", "carracing", "--run", f"runs/tables-{tiny_drive.name}", *few]) == 2
    assert "give another --run" in capsys.readouterr().err


def test_breeding_for_steps_goes_on_where_it_stopped(tiny_world: Path, tmp_path: Path) -> None:
    """A generation that reaches the budget is the last, and a search that was stopped before comes to the same end."""
    found = []
    for number, budgets in enumerate([(900,), (300, 900)]):
        run = tmp_path / str(number)
        shutil.copytree(tiny_world, run / "round-0/world")
        for steps in budgets:
            found.append(evolve.main(evolve_options(run, steps=steps, rollouts=3, validate_every=3)))
    whole, part, resumed = found
    assert resumed == whole and 0 < part.generations < whole.generations
    generations = json.loads((run / "round-0/evolve/controller/history.json").read_text())["generations"]
    steps = [entry["steps"] for entry in generations]
    assert sum(steps[:-1]) < 900 <= sum(steps) and len(steps) == whole.generations


def test_random_steps_have_their_share_and_depend_on_the_seed_only() -> None:
    task = get_task("carracing")
    choices = tuple(part for action in task.actions.choices("discrete") for part in action)
    config = ControllerConfig(4, 8, 3, bias=True, choices=choices)
    parameters = torch.randn(config.parameters, generator=torch.Generator().manual_seed(0))
    controller = ControllerPolicy("controller", config, tuple(parameters.tolist()))
    features, num_envs = torch.zeros(6, 12), torch.arange(6)
    dreams = Dreams(tiny_model(config=dataclasses.replace(TINY_DRIVE, frame_skip=4)), 6)
    usual = controller.actor(dreams, range(6)).act(features, num_envs, 0)

    def actions_of(epsilon: float, seeds: list[int]) -> torch.Tensor:
        act, observation = EpsilonRandomPolicy(controller, epsilon).actor(dreams, seeds)
        assert observation == "zh"
        return torch.stack([act(features, num_envs, step) for step in range(250)])

    some = actions_of(0.3, list(range(6)))
    others = (some != usual).any(-1)
    assert 0.3 * 6 / 8 < others.float().mean() < 0.3  # one of eight random actions is the one of the controller
    assert torch.equal(some, actions_of(0.3, list(range(6))))
    assert not torch.equal(some, actions_of(0.3, list(range(1, 7))))
    assert torch.equal(some[:, 2], actions_of(0.3, [9, 9, 2, 9, 9, 9])[:, 2]), "an environment depends on its own seed"
    assert len(np.unique(actions_of(1.0, list(range(6))).flatten(0, 1).numpy(), axis=0)) == len(task.actions.discrete)


def test_the_battery_has_policies_with_random_steps(own_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("vizdoom")
    few = {"episodes": 2, "dreams": 4, "workers": 1, "cache": str(own_world / "c"), "replay": True}
    report = fidelity.main(FidelityCommand.flat(world=str(own_world), epsilons=(0.5,), **few))
    names = [row.policy for row in report.policies]
    assert names[-2:] == ["controller", "controller, 50% random"]
    assert report.parts["chosen by"].policies + report.parts["held out"].policies == len(names)
    cached = [key.split("/")[0] for key in json.loads((own_world / "c").read_text())["returns"]]
    assert sorted(cached) == sorted(names[:-2]), "of open-loop policies only"
    stored = StoredReturns(get_task("takecover"), 4, VALIDATION_SEEDS)
    for row in report.policies[:-2]:  # the returns that come with the package are those of the game
        played = json.loads((own_world / "c").read_text())["returns"][f"{row.policy}/4/{VALIDATION_SEEDS}"]
        policy = next(policy for policy in open_loop_battery(get_task("takecover")) if policy.name == row.policy)
        assert stored.get(policy, 2).tolist() == played
    for epsilon in ("0", "1.5", "nan"):
        assert main(["fidelity", "--world", str(own_world), "--epsilons", epsilon]) == 2
        assert "epsilons" in capsys.readouterr().err
