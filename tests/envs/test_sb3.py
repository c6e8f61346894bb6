"""The native adapter to Stable-Baselines3, beside its own DummyVecEnv."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from wm_envs.envs.real import RealVectorEnv
from wm_envs.errors import InvalidOption
from wm_envs.sb3 import LatentVecEnv, make_vec_env


def both(world: Path, actions: str, **more: Any) -> tuple[DummyVecEnv, VecMonitor]:
    """The same dream behind SB3's own adapter and behind ours."""
    kwargs = {"world": str(world), "actions": actions} | more
    theirs = DummyVecEnv([lambda: Monitor(gym.make("WMDream-v0", **kwargs))])
    theirs.seed(7)
    return theirs, make_vec_env("WMDream-v0", 1, seed=7, **kwargs)


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
def test_one_lane_is_what_dummy_vec_env_gives(tiny_world: Path, actions: str) -> None:
    theirs, ours = both(tiny_world, actions)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    ours.action_space.seed(3)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    over = 0
    for _ in range(60):
        action = np.array([ours.action_space.sample()])
        *values, infos = ours.step(action)
        for mine, reference in zip(values, theirs.step(action)[:3], strict=True):
            np.testing.assert_array_equal(mine, reference)
            assert mine.dtype == reference.dtype
        mine, reference = infos[0], theirs.buf_infos[0]
        assert mine.keys() == reference.keys()
        for name in mine:
            if name != "episode":
                np.testing.assert_array_equal(mine[name], reference[name])
        if "episode" in mine:  # its time, "t", differs
            assert all(mine["episode"][part] == pytest.approx(reference["episode"][part]) for part in "rl")
        over += "terminal_observation" in mine
    assert over >= 2


def test_a_time_limit_is_told_from_an_end(immortal_world: Path) -> None:
    theirs, ours = both(immortal_world, "discrete")
    short = make_vec_env("WMDream-v0", 3, seed=7, world=str(immortal_world), max_episode_steps=5)
    for env in (theirs, ours, short):
        env.reset()
    for step in range(1, 11):
        _, _, done, infos = short.step(np.zeros((3, 1), np.float32))
        assert done.all() == (step % 5 == 0)
        assert all(info.get("TimeLimit.truncated", False) == (step % 5 == 0) for info in infos)
    for _ in range(525):
        _, _, done, infos = ours.step(np.array([0]))
        _, _, expected, reference = theirs.step(np.array([0]))
        assert done == expected and infos[0].get("TimeLimit.truncated") == reference[0].get("TimeLimit.truncated")
    assert done[0] and infos[0]["TimeLimit.truncated"]


def test_lanes_that_are_over_begin_again_and_the_others_go_on(tiny_world: Path) -> None:
    env = make_vec_env("WMDream-v0", 32, seed=0, world=str(tiny_world))
    env.reset()
    for _ in range(40):
        before = np.array([info.get("ticks", 0) for info in getattr(env, "step_infos", [{}] * 32)])
        ended = np.array(["terminal_observation" in info for info in getattr(env, "step_infos", [{}] * 32)])
        observations, rewards, done, infos = env.step(np.zeros((32, 1), np.float32))
        ticks = np.array([info["ticks"] for info in infos])
        np.testing.assert_array_equal(ticks, np.where(ended, 0, before) + 4)
        assert rewards.dtype == np.float32 and (rewards > 0).all()
        for lane in np.flatnonzero(done):
            assert not np.array_equal(infos[lane]["terminal_observation"], observations[lane])
        assert all(("terminal_observation" in info) == over for info, over in zip(infos, done, strict=True))


def test_seeds_attributes_and_methods(tiny_world: Path) -> None:
    env = make_vec_env("WMDream-v0", 4, seed=5, world=str(tiny_world), render_mode="rgb_array")
    first = env.reset()
    assert not np.array_equal(env.reset(), first)  # the seed is for one reset
    env.seed(5)
    np.testing.assert_array_equal(env.reset(), first)
    env.set_attr("temperature", 0.5)
    assert env.get_attr("temperature") == [0.5] * 4 and env.get_attr("num_envs", indices=[0, 2]) == [4, 4]
    assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [False] * 4
    assert [frame.shape for frame in env.get_images()] == [(64, 64, 3)] * 4
    env.close()


def test_an_env_that_resets_itself_is_refused(tiny_world: Path) -> None:
    env: Any = gym.make_vec("WMDream-v0", num_envs=2, world=str(tiny_world))
    with pytest.raises(InvalidOption, match="DISABLED"):
        LatentVecEnv(env)


def test_curious_games_pay_what_m_did_not_expect(tiny_drive: Path) -> None:
    pytest.importorskip("Box2D")
    games = RealVectorEnv(2, world=str(tiny_drive), renderer="fast", curious=True)
    games.reset(seed=3)
    action = np.ones((2, 3), np.float32)
    for _ in range(3):
        prediction, _ = games.world.predict(games.state, torch.from_numpy(action))
        _, paid, *_ = games.step(action)
        expected = games.world.memory.nll(prediction, games.state.latents).mean(1)
        np.testing.assert_allclose(paid, expected.detach().numpy(), rtol=1e-5)
    games.close()
