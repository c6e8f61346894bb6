"""The single dream environment: checkers, determinism, temperature, states, terminations and frames."""

import json
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from tests.helpers import steps_of
from wm_envs.envs.dream import DreamEnv, DreamVectorEnv

OBSERVATIONS = ("zh", "zch", "z", "pixels")
SIZES = {"zh": (12,), "zch": (20,), "z": (4,), "pixels": (64, 64, 3)}


def equal(first: Any, second: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_passes_gymnasiums_check_env(tiny_world: Path, observation: str, actions: str) -> None:
    env = gym.make("WMDream-v0", world=str(tiny_world), observation=observation, actions=actions)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    assert env.observation_space.shape == SIZES[observation]
    env.close()


@pytest.mark.parametrize("observation", ["zh", "pixels"])
@pytest.mark.parametrize("actions", ["continuous", "discrete"])
def test_passes_stable_baselines_check_env(tiny_world: Path, observation: str, actions: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = gym.make("WMDream-v0", world=str(tiny_world), observation=observation, actions=actions)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(env)
    env.close()


def test_spec_round_trips_through_json(tiny_world: Path) -> None:
    env = gym.make("WMDream-v0", world=str(tiny_world), temperature=1.2, max_episode_steps=9)
    spec = EnvSpec.from_json(env.spec.to_json())
    again = gym.make(spec)
    assert again.unwrapped.temperature == 1.2
    first, second = (e.reset(seed=3)[0] for e in (env, again))
    assert np.array_equal(first, second)
    EnvSpec.from_json(gym.spec("WMDream-v0").to_json())
    vector = gym.make_vec("WMDream-v0", num_envs=2, world=str(tiny_world))
    json.loads(vector.spec.to_json())


def trajectory(env: DreamEnv, seed: int) -> list[Any]:
    result: list[Any] = [env.reset(seed=seed)[0].tobytes()]
    for step in range(30):
        observation, reward, terminated, truncated, info = env.step(np.array([np.sin(step)], np.float32))
        result.append((observation.tobytes(), reward, terminated, truncated, info))
        if terminated or truncated:
            result.append(env.reset()[0].tobytes())
    return result


def test_same_seed_gives_the_same_episodes(tiny_world: Path) -> None:
    env, other = DreamEnv(str(tiny_world)), DreamEnv(str(tiny_world))
    assert trajectory(env, 5) == trajectory(env, 5) == trajectory(other, 5)
    assert trajectory(env, 5) != trajectory(env, 6)


def test_unseeded_envs_differ_and_leave_global_generators_unchanged(tiny_world: Path) -> None:
    first, second = (DreamEnv(str(tiny_world)) for _ in range(2))
    assert not np.array_equal(first.reset()[0], second.reset()[0])
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first.reset(seed=1)
    first.step(np.zeros(1, np.float32))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def spread(env: DreamVectorEnv) -> float:
    """Standard deviation of the next observations over environments in the same state."""
    return float(env.step(np.zeros((env.num_envs, 1), np.float32))[0].std(axis=0).mean())


def test_temperature_can_change_between_steps(immortal_world: Path) -> None:
    env = DreamVectorEnv(256, world=str(immortal_world), observation="z", temperature=0.1)
    env.reset(seed=0)
    state = env.state
    same = state.select(torch.zeros(256, dtype=torch.long))
    spreads = []
    for temperature in (0.1, 0.5, 1.0, 3.0):
        env.reset(seed=1, options={"state": same})
        env.temperature = temperature
        assert env.temperature == temperature
        spreads.append(spread(env))
    assert spreads == sorted(spreads) and spreads[-1] > 2 * spreads[0]
    env.reset(seed=1, options={"state": same, "temperature": 0.5})
    assert env.temperature == 0.5 and spread(env) == spreads[1]


def test_temperature_by_keyword_option_and_attribute(tiny_world: Path) -> None:
    env = gym.make("WMDream-v0", world=str(tiny_world))
    assert env.unwrapped.temperature == 1.0
    env.reset(options={"temperature": 1.3})
    assert env.unwrapped.temperature == 1.3
    env.reset()
    assert env.unwrapped.temperature == 1.3, "it stays until the next change"
    env.unwrapped.temperature = 2
    env.step(env.action_space.sample())
    assert env.unwrapped.temperature == 2.0
    env.get_wrapper_attr("set_wrapper_attr")("temperature", 0.7)
    assert env.unwrapped.temperature == 0.7


def test_dream_continues_from_a_given_state(immortal_world: Path) -> None:
    env = DreamEnv(str(immortal_world))
    env.reset(seed=0)
    for _ in range(7):
        env.step(np.ones(1, np.float32))
    state, kept = env.state, env.state.clone().tensors()

    def continuation(seed: int, action: float) -> list[bytes]:
        first, _ = env.reset(seed=seed, options={"state": state})
        return [first.tobytes()] + [env.step(np.full(1, action, np.float32))[0].tobytes() for _ in range(10)]

    a, again = continuation(3, 0.0), continuation(3, 0.0)
    assert a == again
    assert continuation(4, 0.0)[0] == a[0], "the state gives the first observation"
    assert continuation(4, 0.0)[1:] != a[1:], "the seed gives the next ones"
    assert continuation(3, 1.0)[1] != a[1] and continuation(3, 1.0)[0] == a[0], "so do the actions"
    assert all(map(torch.equal, state.tensors(), kept)), "steps do not change a given state"
    assert int(state.ticks[0]) == 28
    env.reset(seed=3, options={"state": state})
    assert env.step(np.zeros(1, np.float32))[4]["ticks"] == 32


def test_state_is_a_copy(tiny_world: Path) -> None:
    env = DreamEnv(str(tiny_world))
    observation, _ = env.reset(seed=0)
    for value in env.state.tensors():
        value.fill_(9)
    assert np.array_equal(env._vector._observe()[0], observation)
    mine = env.state
    env.reset(seed=0, options={"state": mine})
    for value in mine.tensors():
        value.fill_(9)
    assert np.array_equal(env._vector._observe()[0], observation)


def test_episode_is_truncated_at_the_tick_limit(immortal_world: Path) -> None:
    env = DreamEnv(str(immortal_world), observation="z")
    env.reset(seed=0)
    for step in range(1, 526):
        _, reward, terminated, truncated, info = env.step(np.zeros(1, np.float32))
        assert reward == 4 and not terminated and truncated == (step == 525)
    assert info["ticks"] == 2100


def test_termination_is_sampled_with_the_models_probability(tiny_world: Path) -> None:
    env = DreamVectorEnv(64, world=str(tiny_world), autoreset_mode=AutoresetMode.SAME_STEP)
    foretold, came, steps = 0.0, 0, 150
    for _, _, rewards, done, infos in steps_of(env, steps):
        foretold, came = foretold + float(infos["termination_probability"].sum()), came + int(done.sum())
        assert set(rewards[done]) <= {2.5} and set(rewards[~done]) <= {4.0}
        assert ((infos["termination_probability"] >= 0) & (infos["termination_probability"] <= 1)).all()
    assert came == pytest.approx(foretold, abs=5 * foretold**0.5)


def test_threshold_termination_is_the_papers_rule(tiny_world: Path) -> None:
    env = DreamVectorEnv(32, world=str(tiny_world), termination="threshold", autoreset_mode=AutoresetMode.SAME_STEP)
    ends = 0
    for _, _, _, done, infos in steps_of(env, 40):
        assert np.array_equal(done, infos["termination_probability"] > 1 / 11)  # logit 0 at a loss weight of 10
        ends += int(done.sum())
    assert ends


def test_long_dreams_at_high_temperature_stay_in_the_observation_space(immortal_world: Path) -> None:
    env = DreamEnv(str(immortal_world), observation="zch", temperature=3.0)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    for _ in range(2000):
        assert np.isfinite(observation).all() and observation in env.observation_space
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            observation, _ = env.reset()


def test_render_returns_the_decoded_frame(tiny_world: Path) -> None:
    env = DreamEnv(str(tiny_world), observation="pixels", render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (64, 64, 3) and frame.dtype == np.uint8 and np.array_equal(frame, observation)
    vector = DreamVectorEnv(2, world=str(tiny_world), render_mode="rgb_array")
    vector.reset(seed=0)
    assert [frame.shape for frame in vector.render()] == [(64, 64, 3)] * 2
    assert DreamEnv(str(tiny_world)).render() is None


def test_close_twice(tiny_world: Path) -> None:
    for mode in (None, "rgb_array", "human"):
        env = gym.make("WMDream-v0", world=str(tiny_world), render_mode=mode)
        env.reset(seed=0)
        env.close()
        env.close()
    DreamEnv(str(tiny_world)).close()
