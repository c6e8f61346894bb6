"""The vector dream environment: equality with the single env, spaces, autoreset modes, masks and states."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.helpers import steps_of
from wm_envs.envs.dream import DreamEnv, DreamVectorEnv


@pytest.mark.parametrize("observation", ["zh", "zch", "pixels"])
@pytest.mark.parametrize("actions", ["continuous", "discrete"])
def test_vector_of_one_equals_the_single_env(tiny_world: Path, observation: str, actions: str) -> None:
    kwargs = {"world": str(tiny_world), "observation": observation, "actions": actions}
    single = DreamEnv(**kwargs)
    vector = DreamVectorEnv(1, autoreset_mode=AutoresetMode.DISABLED, **kwargs)
    single.action_space.seed(0)
    for seed in range(3):
        assert np.array_equal(single.reset(seed=seed)[0], vector.reset(seed=seed)[0][0])
        over = False
        while not over:
            action = single.action_space.sample()
            ours = single.step(action)
            theirs = vector.step(np.stack([action]))
            assert np.array_equal(ours[0], theirs[0][0])
            assert ours[1:4] == tuple(values[0] for values in theirs[1:4])
            assert ours[4] == {key: theirs[4][key][0] for key in ours[4]}
            over = ours[2] or ours[3]


def test_vector_spaces(tiny_world: Path) -> None:
    env = gym.make_vec("WMDream-v0", num_envs=5, world=str(tiny_world))
    assert isinstance(env.unwrapped, DreamVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert env.observation_space.shape == (5, 12) and env.action_space.shape == (5, 1)
    observations, _ = env.reset(seed=1)
    assert observations in env.observation_space
    for _ in range(40):
        observations, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
        assert observations in env.observation_space
        assert rewards.shape == terminated.shape == truncated.shape == (5,)
        assert rewards.dtype == np.float64 and terminated.dtype == truncated.dtype == np.bool_
    env.close()
    env.close()


def is_first(observations: np.ndarray) -> np.ndarray:
    """Which "zh" observations of the tiny world are the first of an episode: their h is 0."""
    return (observations[:, 4:] == 0).all(1)


def test_next_step_mode_resets_in_the_next_step(tiny_world: Path) -> None:
    env = DreamVectorEnv(6, world=str(tiny_world))
    over, ends = np.zeros(6, bool), 0
    for _, observations, rewards, done, _ in steps_of(env, 120):
        assert (rewards[over] == 0).all() and not done[over].any()
        assert np.array_equal(is_first(observations), over)
        assert (rewards[~over] > 0).all()
        over, ends = done, ends + int(done.sum())
    assert ends > 20


def test_next_step_mode_ignores_the_action_of_a_resetting_step(tiny_world: Path) -> None:
    outcomes = []
    for last in (-1.0, 1.0):
        env = DreamVectorEnv(1, world=str(tiny_world))
        env.reset(seed=4)
        over = np.zeros(1, bool)
        while not over[0]:
            _, _, over, _, _ = env.step(np.zeros((1, 1), np.float32))
        outcomes.append([env.step(np.full((1, 1), last, np.float32))[0], env.step(np.zeros((1, 1), np.float32))[0]])
    assert np.array_equal(outcomes[0], outcomes[1])


def test_same_step_mode_resets_in_the_same_step(tiny_world: Path) -> None:
    env = DreamVectorEnv(6, world=str(tiny_world), autoreset_mode="SameStep")
    ends = 0
    for _, observations, rewards, done, infos in steps_of(env, 100):
        assert (rewards > 0).all()
        assert np.array_equal(is_first(observations), done)
        assert ("final_obs" in infos) == bool(done.any())
        if done.any():
            assert np.array_equal(infos["_final_obs"], done)
            for index in range(6):
                final = infos["final_obs"][index]
                assert (final is not None) == done[index]
                if done[index]:
                    assert final in env.single_observation_space and not is_first(final[None])[0]
        ends += int(done.sum())
    assert ends > 20


def assert_equal(ours: Any, theirs: Any) -> None:
    """Equal values, and equal infos where Gymnasium has them."""
    if isinstance(theirs, dict):
        for name in theirs:
            assert_equal(ours[name], theirs[name])
    elif isinstance(theirs, tuple):
        for mine, reference in zip(ours, theirs, strict=True):
            assert_equal(mine, reference)
    elif np.asarray(theirs).dtype.hasobject:
        assert_equal(tuple(ours), tuple(theirs))
    else:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("mode", "episodes"), [(AutoresetMode.SAME_STEP, 4), (AutoresetMode.NEXT_STEP, 1)])
def test_a_vector_of_one_is_gymnasiums_vector_of_one(tiny_world: Path, mode: AutoresetMode, episodes: int) -> None:
    """It draws the same random numbers; with NEXT_STEP until the first reset, which is a step of the batch."""
    ours = DreamVectorEnv(1, world=str(tiny_world), autoreset_mode=mode)
    theirs = SyncVectorEnv([lambda: DreamEnv(str(tiny_world))], autoreset_mode=mode)
    ours.action_space.seed(1)
    assert_equal(ours.reset(seed=3), theirs.reset(seed=3))
    while episodes:
        action = ours.action_space.sample()
        mine, reference = ours.step(action), theirs.step(action)
        assert_equal(mine[:4], reference[:4])
        for name in reference[4]:
            if mode == AutoresetMode.NEXT_STEP or "final" in name:
                assert_equal(mine[4][name], reference[4][name])
        episodes -= int(reference[2][0])
    if mode == AutoresetMode.NEXT_STEP:
        assert_equal(ours.step(action)[1:], theirs.step(action)[1:])


def test_disabled_mode_resets_by_mask(tiny_world: Path) -> None:
    env = DreamVectorEnv(6, world=str(tiny_world), autoreset_mode=AutoresetMode.DISABLED)
    ends = 0
    observations, _ = env.reset(seed=1)
    for _ in range(60):
        observations, _, terminated, truncated, _ = env.step(env.action_space.sample())
        done = terminated | truncated
        if done.any():
            mask, options = done.copy(), {"reset_mask": done}
            after, _ = env.reset(options=options)
            assert options == {"reset_mask": done} and np.array_equal(done, mask)
            assert np.array_equal(is_first(after), done)
            assert np.array_equal(after[~done], observations[~done])
            ends += int(done.sum())
    assert ends > 10


def test_returned_arrays_are_not_overwritten(tiny_world: Path) -> None:
    for observation in ("zh", "pixels"):
        env = DreamVectorEnv(3, world=str(tiny_world), observation=observation)
        given = [env.reset(seed=0)[0]]
        copies = [given[0].copy()]
        for _ in range(15):
            step = env.step(env.action_space.sample())
            given += [*step[:4], step[4]["ticks"]]
            copies += [value.copy() for value in (*step[:4], step[4]["ticks"])]
        assert all(np.array_equal(a, b) for a, b in zip(given, copies, strict=True))


def test_reset_to_a_state_affects_only_masked_envs(tiny_world: Path) -> None:
    env = DreamVectorEnv(3, world=str(tiny_world), autoreset_mode=AutoresetMode.DISABLED)
    before, _ = env.reset(seed=0)
    state = env.state
    for value in state.tensors():
        value += 1
    mask = np.array([True, False, True])
    after, _ = env.reset(options={"state": state, "reset_mask": mask})
    assert np.array_equal(after[mask], before[mask] + 1) and np.array_equal(after[1], before[1])


def test_make_vec_max_episode_steps(immortal_world: Path) -> None:
    env = gym.make_vec("WMDream-v0", num_envs=3, max_episode_steps=10, world=str(immortal_world))
    env.reset(seed=0)
    for step in range(1, 24):
        _, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
        assert not terminated.any()
        assert (truncated == (step in (10, 21))).all()
        assert (rewards == (0 if step in (11, 22) else 4)).all()
