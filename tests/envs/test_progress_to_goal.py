"""The progress towards a goal: in dreams from M's rewards, in the game from its own, and M sees what is left."""

import dataclasses
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

import wm_envs
from tests.helpers import TINY_DRIVE, tiny_model
from training.judging.motion import Motion
from training.stages.memory import complete, of_kind
from wm_envs.errors import BrokenWorld, InvalidOption
from wm_envs.files import write_json
from wm_envs.games.registry import get_task
from wm_envs.models.memory.mdn_rnn import MDNRNN
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world, read_config, save_world

MEMORY = dataclasses.replace(TINY_DRIVE.memory, progress=True)
LAPS = dataclasses.replace(TINY_DRIVE, memory=MEMORY)


def lap_world(paid: float) -> WorldModel:
    """A world whose M predicts `paid` in units of the reward at every step, and ends where nothing is left."""
    world = tiny_model(config=LAPS)
    with torch.no_grad():
        world.memory.head.weight[world.memory.termination_output :] = 0
        world.memory.head.bias[world.memory.termination_output :] = torch.tensor([-20.0, paid])
    return world


def test_m_sees_what_is_left() -> None:
    memory = MDNRNN(MEMORY)
    latents, actions, ticks = torch.zeros(3, 4), torch.zeros(3, 3), torch.zeros(3, dtype=torch.int64)
    progress = torch.tensor([0.0, 0.75, 1.0])
    assert memory.assemble(latents, actions, ticks, progress=progress)[:, -1].tolist() == [1, 0.5, 0]
    assert memory.assemble(latents, actions, ticks)[:, -1].tolist() == [1, 1, 1]
    step, _ = memory.step(latents, actions, ticks, memory.initial_state(3), progress)
    assert len(set(step.termination.tolist())) == 3


def test_a_dream_counts_the_rewards_that_m_predicts() -> None:
    world = lap_world(paid=2.0)
    generator = torch.Generator().manual_seed(0)
    state = world.initial_state(2, generator)
    assert state.progress.tolist() == [0, 0]
    seen = []
    for _ in range(200):
        noise = world.draw_noise(2, generator)
        state, outcome = world.step(state, torch.zeros(2, 3), noise, torch.ones(1, 1))
        seen.append(float(state.progress[0]))
    earned = float(outcome.reward[0]) + 0.1 * world.config.frame_skip  # a tick costs 0.1
    assert outcome.reward[0] == pytest.approx(6.0) and seen[0] == pytest.approx(earned / 1000)
    assert seen[9] == pytest.approx(10 * earned / 1000, rel=1e-4) and seen[-1] == 1
    assert world.check_state(state, 2) == ""
    assert world.check_state(state._replace(progress=state.progress + 1), 2) == "progress from 0 to 1"
    without = tiny_model(config=TINY_DRIVE)
    after = without.next_state(state._replace(progress=torch.zeros(2)), state.latents, state.recurrent, outcome.reward)
    assert after.progress.tolist() == [0, 0]


def test_progress_is_in_a_bundle(tmp_path: Path) -> None:
    save_world(tmp_path / "laps", lap_world(2.0))
    assert load_world(tmp_path / "laps").config.memory.progress
    env = gym.make("WMDreamCarRacing-v0", world=str(tmp_path / "laps"))
    env.reset(seed=0)
    env.step(np.zeros(3, np.float32))
    branch = env.unwrapped.state
    assert float(branch.progress) > 0
    env.reset(options={"state": branch})
    assert float(env.unwrapped.state.progress) == float(branch.progress)


def test_the_game_counts_its_own_rewards(tmp_path: Path) -> None:
    save_world(tmp_path / "laps", lap_world(2.0))
    real = gym.make("WMCarRacing-v0", world=str(tmp_path / "laps"))
    wrapped = wm_envs.LatentFeatures(gym.make("FastCarRacing-v0"), world=str(tmp_path / "laps"))
    real.reset(seed=3)
    wrapped.reset(seed=3)
    total, ticks, skip = 0.0, 0, LAPS.frame_skip
    for _ in range(12):
        _, reward, *_ = real.step(np.array([0, 0, 0], np.float32))
        wrapped.step(np.array([0, 0.5, 0], np.float32))  # the same gas for the game itself
        total, ticks = total + reward, ticks + skip
    progress = float(real.unwrapped.state.progress)
    assert 0 < progress == pytest.approx((total + 0.1 * ticks) / 1000, rel=1e-4)
    assert float(wrapped.state.progress) == pytest.approx(progress)
    real.close()
    wrapped.close()


def test_a_game_without_a_goal_refuses_it() -> None:
    with pytest.raises(InvalidOption, match="Take Cover is not"):
        complete(of_kind("mdn-rnn", progress=True), get_task("takecover"), lambda: Motion(pixels=1, episode_ticks=9))


def test_a_bundle_with_progress_but_no_goal_is_refused(own_world: Path) -> None:
    bundle = read_config(own_world)
    bundle["world"]["memory"]["progress"] = True
    write_json(own_world / "config.json", bundle)
    with pytest.raises(BrokenWorld, match=r"progress is true, but .* has no goal"):
        load_world(own_world)
