"""The command line, and whole runs of it on the real game, as small as they can be."""

import importlib
import json
import tomllib
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from experiments.tables import as_markdown
from experiments.transfer import Command as TransferCommand
from experiments.transfer import main as transfer
from tests.helpers import ROOT, last_json, one_line_error
from training.__main__ import main
from training.judging import battery
from training.judging.battery import open_loop_battery
from training.stages import ppo
from wm_envs.worlds.bundle import load_world, read_config


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["collect", "--task", "chess"], "takecover"),
        (["memory", "--posterior-noise", "0"], "posterior_noise"),
        (["evaluate", "--world", "nowhere"], "nowhere"),
        (["fidelity", "--temperature", "-1"], "temperature"),
        (["publish", "--world", "nowhere"], "nowhere"),
        (["run", "--rounds", "-1"], "rounds"),
        (["run", "--learner", "luck"], "learner"),
        (["run", "--ppo.total-timesteps", "0"], "ppo.total_timesteps"),  # not after hours of V and M
        (["run", "--temperature-high", "nan"], "temperature_high"),
        (["run", "--task", "chess"], "chess"),
        (["run", "--evaluate.renderer", "oils"], "renderer"),
        (["run", "--learner", "evolve", "--real-steps", "9"], "learner"),  # it is PPO that goes on in the real game
        (["run", "--real-steps", "-1"], "real_steps"),
        (["run", "--explore-steps", "9", "--rounds", "0"], "explore_steps"),  # nobody would see it play
        (["run", "--explore-steps", "9", "--ppo.validate-episodes", "0"], "validate_episodes"),
        (["run", "--curious"], "explore-steps"),
        (["run", "--vision-rounds", "-1"], "vision_rounds"),
        (["run", "--temperature", "2"], "temperature_high"),  # whose default is lower
        (["ppo", "--temperature", "2"], "temperature_high"),
        (["evolve", "--temperature", "2", "--temperature-high", "1"], "temperature_high"),
        (["evolve", "--train-in", "game", "--steps", "9"], "steps"),
        (["doctor"], "run"),
        (["evaluate", "--settings", "lap"], "settings"),
        (["evaluate", "--world", "carracing", "--settings", "off_road_cost=2"], "off_road_cost"),
        (["run", "--task", "carracing", "--evaluate.settings", "off_road_cost=2"], "off_road_cost"),
        (["evaluate", "--settings", "lap_complete_percent=1"], "lap_complete_percent"),  # Take Cover has no laps
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = [] if words[0] in ("evaluate", "fidelity", "publish") else ["--run", str(tmp_path / "run")]
    assert said in one_line_error(main, [*words, *run], capsys)
    assert not [*tmp_path.glob("run/*")]


def test_the_console_scripts_exist() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == {"wm-train", "wm-play"}
    for target in scripts.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


TINY = {
    "collect.frames": 1500, "own-frames": 400, "vision.batches": 6, "memory.steps": "3e4", "evolve.generations": 2,
    "evolve.population": 4, "evolve.rollouts": 2, "evolve.validate-episodes": 2, "ppo.total-timesteps": 16_384,
    "ppo.validate-episodes": 2, "evaluate.episodes": 4, "workers": 1, "rounds": 1,
}  # fmt: skip


@pytest.mark.slow  # over a minute each
@pytest.mark.parametrize("learner", ["ppo", "evolve"])
def test_a_whole_run_and_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], learner: str) -> None:
    pytest.importorskip("vizdoom")
    run = tmp_path / "run"
    words = ["run", "--run", str(run), "--json", *(word for k, v in TINY.items() for word in (f"--{k}", str(v)))]
    words += ["--learner", learner]
    assert main(words) == 0
    first = last_json(capsys)
    assert first["evaluate"]["episodes"] == 4 and 50 < first["evaluate"]["mean"] <= 2100
    assert {"round 0", "round 1"} <= set(first)
    scores = json.loads((run / "scores.json").read_text())
    assert sorted(scores["scores"]) == [str(200_000 + i) for i in range(4)]
    assert main(words) == 0, "a finished run does nothing again"
    again = last_json(capsys)
    assert again == first

    few = dict(generations=1, population=4, rollouts=2, validate_every=1, validate_episodes=2, episodes=2, workers=1)
    few |= {"learner": learner, "ppo_steps": 16_384, "ablations": learner == "evolve"}
    rows = transfer(TransferCommand.flat(run=run, temperatures=(0.5,), **few))["rows"]
    names = [row.policy for row in rows]
    assert names[0] == "temperature 0.5" and "random, holds of 1-10 ticks" in names
    assert any("untrained" in name for name in names) == (learner == "evolve")
    assert all(row.real.mean > 50 for row in rows)
    assert as_markdown(rows).count("\n") == len(rows) + 2

    bundle = tmp_path / "bundle"
    where = ["--world", str(run / "round-0/world"), "--to", str(bundle), "--scores", str(run / "scores.json")]
    assert main(["publish", *where]) == 0
    assert "Real game, test seeds" in (bundle / "README.md").read_text()
    capsys.readouterr()
    assert main(["evaluate", "--world", str(bundle), "--episodes", "4", "--workers", "1", "--json"]) == 0
    assert last_json(capsys)["mean"] > 50


@pytest.mark.slow  # over two minutes
def test_another_game(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """CarRacing: rewards are foretold by M, actions have three parts, a lap may be finished, and C explores first."""
    few = ppo.IN_THE_GAME.replace(num_envs=2, n_steps=16, batch_size=32, n_epochs=1)
    monkeypatch.setattr(ppo, "IN_THE_GAME", few)
    monkeypatch.setattr(battery, "open_loop_battery", lambda task: open_loop_battery(task)[::5])
    run = tmp_path / "run"
    tiny = TINY | {"collect.frames": 3000, "evaluate.episodes": 1, "explore-steps": 64, "real-steps": 64}
    tiny |= {"evaluate.renderer": "fast", "vision-rounds": 0, "real-settings": "off_road_cost=2"}
    words = [word for k, v in tiny.items() for word in (f"--{k}", str(v))]
    assert main(["run", "--task", "carracing", "--run", str(run), "--json", *words]) == 0
    found = last_json(capsys)
    memory, faithful = found["round 1"]["memory"], found["round 1"]["fidelity"]
    assert main(["run", "--task", "carracing", "--run", str(run), "--json", *words]) == 0
    assert last_json(capsys) == found, "a finished run does nothing again"
    assert "ppo" in found["round 0"] and "fidelity" not in found["round 0"] and found["best round"] == 1
    assert list(read_config(run / "round-0/world")["controllers"]) == ["explorer"]
    assert "vision" not in found["round 1"] and len(list((run / "latents").iterdir())) == 1, "V stays, and its latents"
    assert "tuned" in found and "<svg" in (run / "report.html").read_text() and found["missing"] == ["Population"]
    assert memory["r2"] < 1 and "relative_error" in faithful and found["evaluate"]["finished"] in (0, 1)
    world = load_world(found["world"])
    assert (world.config.memory.latent, world.config.memory.hidden, world.config.memory.reward) == (32, 256, True)
    for env_id in ("WMDream-v0", "WMTakeCover-v0"):  # any id takes any world
        env = gym.make(env_id, world=found["world"], **({"renderer": "fast"} if "Dream" not in env_id else {}))
        check_env(env.unwrapped, skip_render_check=True)
        env.close()
