"""The examples run, with small arguments."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.helpers import ROOT
from wm_envs.worlds.bundle import read_controller

EXAMPLES = ROOT / "examples"
OPTIONS = {"score_a_dream": ("--world", "takecover-paper")}  # its M is the quicker one
ELSEWHERE = {"onnx_dream", "paddle"}  # in test_export.py, which exports a world for it, and in test_any_env.py
BELOW = {"through_the_dream"}  # with tests of their own
SHORT = {"policy_gradient": 3, "cma_es": 1, "branching": 5, "score_a_dream": 2, "from_tables_to_dreams": 5}
FRAMEWORKS = {  # the real game's episodes follow: name -> the package that it needs, steps
    "sb3_ppo": ("stable_baselines3", 8192),
    "frameworks/sb3_dqn": ("stable_baselines3", 10_500),
    "frameworks/cleanrl_ppo": ("torch", 4096),
    "frameworks/torchrl_ppo": ("torchrl", 4096),
    "frameworks/tianshou_ppo": ("tianshou", 4096),
    "frameworks/rllib_ppo": ("ray.rllib", 512),
}
SLOW = {"tianshou", "ray.rllib"}
HELPER = "frameworks/real_game"


def test_all_examples_are_tested() -> None:
    found = [*EXAMPLES.glob("*.py"), *(EXAMPLES / "frameworks").glob("*.py")]
    names = {path.relative_to(EXAMPLES).with_suffix("").as_posix() for path in found}
    assert names == SHORT.keys() | ELSEWHERE | BELOW | FRAMEWORKS.keys() | {HELPER}


def output(name: str, *arguments: int | str) -> str:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SHORT)
def test_example_runs(name: str) -> None:
    assert "ticks" in output(name, SHORT[name], *OPTIONS.get(name, ()))


def test_a_controller_learns_by_the_gradient_of_the_dream(tmp_path: Path) -> None:
    small = ["--dreams", "8", "--horizon", "4", "--hidden", "4"]
    assert " ticks in dreams at 1.35" in output("through_the_dream", 2, *small, "--out", str(tmp_path))
    config, parameters = read_controller(tmp_path / "world", "gradient")
    assert config.hidden_sizes == (4,) and parameters.isfinite().all()
    last = parameters[-(4 * 3 + 3) : -3]  # the last layer's weights, which began as zeros
    assert last.abs().max() > 0


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow if package in SLOW else ()) for name, (package, _) in FRAMEWORKS.items()
])  # fmt: skip
def test_example_of_a_framework_runs(name: str) -> None:
    package, steps = FRAMEWORKS[name]
    for needed in (package, "vizdoom"):
        pytest.importorskip(needed, exc_type=ImportError)
    assert " ticks in 2 episodes of the real game" in output(name, steps, 2)


def test_the_real_game_of_the_frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every episode counts once, whichever game plays it, and as in `gym.make`."""
    pytest.importorskip("vizdoom")
    monkeypatch.syspath_prepend(EXAMPLES / "frameworks")
    import real_game

    def alone(seed: int) -> float:
        env = gym.make("WMTakeCover-v0", actions="discrete")
        env.reset(seed=seed)
        ticks, over = 0.0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(1)
            ticks, over = ticks + float(reward), terminated or truncated
        env.close()
        return ticks

    def right(observations: Any) -> Any:
        return np.ones(len(observations), int)

    expected = [alone(real_game.FIRST_SEED + episode) for episode in range(3)]
    assert real_game.play(right, 3, games=2).tolist() == expected == real_game.play(right, 3, games=3).tolist()
