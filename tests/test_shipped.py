"""The shipped world: it loads offline, dreams as it did when it was published, and is driven as well."""

from __future__ import annotations

import os
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

import wm_envs  # noqa: F401 (registers the ids)
from training.episodes import dream_episodes
from training.evaluate import bred
from training.evolve import UNSEEN_DREAMS
from training.policies import actor, scripts
from wm_envs.worlds import load_world, read_config, resolve, shipped_worlds

DREAMS = 192


def test_take_cover_is_shipped_and_small() -> None:
    assert "takecover" in shipped_worlds()
    folder = resolve("takecover")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 16e6
    assert (folder / "README.md").read_text().startswith("# World `takecover`")


def test_it_is_made_by_name_alone_without_game_or_trainer() -> None:
    code = (
        "import sys, gymnasium as gym, wm_envs; env = gym.make('WMDream-v0'); env.reset(seed=0);"
        "env.step(env.action_space.sample());"
        "print([name for name in ('vizdoom', 'zarr', 'cma', 'pygame') if name in sys.modules])"
    )
    environment = os.environ | {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def lifetimes(policy_name: str) -> tuple[np.ndarray, dict]:
    """Lifetimes in fresh dreams of a policy of the recorded battery, and what was recorded."""
    world, recorded = load_world("takecover"), read_config(resolve("takecover"))["card"]["fidelity"]
    row = next(row for row in recorded["policies"] if row["policy"] == policy_name)
    policy = next((s for s in scripts(world.task) if s.name == policy_name), None) or bred("takecover", policy_name)
    act, observation = actor(policy, world.task, list(range(DREAMS)), world.config.frame_skip)
    seed = UNSEEN_DREAMS + 77
    return dream_episodes(world, act, observation, 1, DREAMS, recorded["temperature"], seed)[0], row["dream"]


@pytest.mark.parametrize("policy", ["constant (1.0,)", "alternate 20", "hold 5-60", "controller"])
def test_dreams_are_as_they_were_recorded(policy: str) -> None:
    found, recorded = lifetimes(policy)
    spread = recorded["std"] / np.sqrt(DREAMS) + recorded["std"] / np.sqrt(recorded["episodes"])
    assert abs(found.mean() - recorded["mean"]) < 4 * spread
    assert 0.5 < found.std() / recorded["std"] < 2


def test_its_controller_beats_moving_at_random() -> None:
    assert lifetimes("controller")[0].mean() > 2 * lifetimes("hold 1-10")[0].mean()


def test_long_dreams_stay_finite_at_every_temperature() -> None:
    for temperature in (0.1, 1.0, 3.0):
        envs = gym.make_vec("WMDream-v0", num_envs=16, temperature=temperature)
        envs.reset(seed=1)
        for _ in range(150):
            observation, *_ = envs.step(envs.action_space.sample())
        assert np.isfinite(observation).all() and envs.observation_space.contains(observation)
        envs.close()


def test_one_lane_of_many_is_close_to_the_single_dream() -> None:
    """bfloat16 products of a batch against float32 of one: the first steps agree to a hundredth."""
    world = load_world("takecover")
    state = world.start(16, torch.Generator().manual_seed(0))
    many, *_ = world.predict(state, torch.ones(16, 1))
    means = many.means[:2].float().clone()
    one, *_ = world.predict(state.select(torch.arange(2)), torch.ones(2, 1))
    assert float((means - one.means).abs().mean()) < 0.02
