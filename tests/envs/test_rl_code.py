"""What other people's RL code expects of an environment: ids, keywords, specs, infos, seeds and wrappers."""

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import ClipAction, RescaleAction, TimeAwareObservation

from tests.helpers import fresh_process, tiny_model
from wm_envs.envs.dream import DreamEnv, DreamVectorEnv
from wm_envs.envs.real import RealEnv, RealVectorEnv
from wm_envs.errors import InvalidAction
from wm_envs.worlds.bundle import save_world


def test_a_process_that_knows_only_the_id(tiny_world: Path) -> None:
    """As the workers of RLlib and TorchRL: Gymnasium imports what stands before the colon."""
    code = "import gymnasium as gym; print(gym.make('wm_envs:WMDream-v0', world={!r}).reset(seed=0)[0].shape)"
    assert fresh_process(code.format(str(tiny_world))) == "(12,)\n"


@pytest.mark.parametrize("name", ["WMDream-v0", "WMCarRacing-v0"])
def test_an_unknown_keyword_is_a_type_error_that_names_the_nearest(tiny_drive: Path, name: str) -> None:
    for make in (gym.make, gym.make_vec):
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'observatoin'.*did you mean 'observation'"):
            make(name, world=str(tiny_drive), observatoin="z")


@pytest.mark.parametrize("keyword", ["temperature", "termination"])
def test_a_real_game_has_no_keywords_of_the_dream(tiny_world: Path, keyword: str) -> None:
    with pytest.raises(TypeError, match=f"argument {keyword!r}"):
        gym.make("WMTakeCover-v0", world=str(tiny_world), **{keyword: 1.0})


def test_actions_that_are_out_by_a_rounding_error_are_clipped(tiny_world: Path) -> None:
    results = []
    for action in ([1.0], [1.0000001], [np.nextafter(np.float32(1), np.float32(2))]):
        env = DreamEnv(str(tiny_world))
        env.reset(seed=0)
        results.append(env.step(np.array(action))[0].tobytes())
    assert len(set(results)) == 1
    with pytest.raises(InvalidAction, match="ClipAction"):
        env.step(np.array([1.01]))


def test_wrappers_that_clip_and_rescale(tiny_world: Path) -> None:
    env = ClipAction(DreamEnv(str(tiny_world)))
    env.reset(seed=0)
    env.step(np.array([7.0], np.float32))
    scaled = RescaleAction(DreamEnv(str(tiny_world)), np.float32(0), np.float32(10))
    scaled.reset(seed=0)
    scaled.step(np.array([10.0], np.float32))


@pytest.mark.parametrize(("actions", "many", "action", "wanted"), [
    ("continuous", False, [[0.0]], r"shape \(1,\)"), ("continuous", True, [0.0], r"shape \(3, 1\)"),
    ("discrete", False, np.zeros(1, int), "a whole number and not an array"),
    ("discrete", True, np.zeros((3, 1), int), r"shape \(3,\) with actions of Discrete\(3\)"),
])  # fmt: skip
def test_the_wanted_shape_is_named(tiny_world: Path, actions: str, many: bool, action: Any, wanted: str) -> None:
    env: Any = DreamVectorEnv(3, world=str(tiny_world), actions=actions)
    if not many:
        env = DreamEnv(str(tiny_world), actions=actions)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=wanted):
        env.step(action)


@pytest.mark.parametrize("skip", [4, 1])
def test_the_spec_has_the_limit_of_steps_of_its_world(tmp_path: Path, skip: int) -> None:
    model = tiny_model(-60.0)
    save_world(tmp_path / "w", tiny_model(-60.0, dataclasses.replace(model.config, frame_skip=skip)))
    env = gym.make("WMDream-v0", world=str(tmp_path / "w"), observation="z")
    limit = 2100 // skip
    assert env.spec.max_episode_steps == limit and "TimeLimit" not in str(env)
    timed = TimeAwareObservation(env)
    assert timed.observation_space.shape == (5,)
    timed.reset(seed=0)
    for step in range(1, limit + 1):
        observation, _, terminated, truncated, _ = timed.step(np.zeros(1, np.float32))
        assert not terminated and truncated == (step == limit)
    assert observation[-1] == limit


def test_a_limit_of_the_users_own_counts(immortal_world: Path) -> None:
    env = gym.make("WMDream-v0", world=str(immortal_world), max_episode_steps=9)
    vector = gym.make_vec("WMDream-v0", num_envs=2, world=str(immortal_world), max_episode_steps=9)
    assert env.spec.max_episode_steps == vector.spec.max_episode_steps == 9
    env.reset(seed=0)
    assert [env.step(np.zeros(1, np.float32))[3] for _ in range(9)] == [False] * 8 + [True]


def keys_agree(env: Any, action: Any) -> None:
    begun, stepped = env.reset(seed=0)[1], env.step(action)[4]
    types = [{name: type(value) for name, value in info.items()} for info in (begun, stepped)]
    assert types[0] == types[1] and "ticks" in begun
    env.close()


def test_a_reset_has_the_infos_of_a_step(tiny_world: Path, tiny_drive: Path) -> None:
    keys_agree(DreamEnv(str(tiny_world)), np.zeros(1, np.float32))
    keys_agree(DreamVectorEnv(3, world=str(tiny_world)), np.zeros((3, 1), np.float32))
    if find_spec("Box2D"):
        keys_agree(RealEnv(str(tiny_drive), renderer="fast"), np.zeros(3, np.float32))
        keys_agree(RealVectorEnv(2, world=str(tiny_drive), renderer="fast"), np.zeros((2, 3), np.float32))


def test_a_reset_by_mask_has_infos_of_the_masked(tiny_world: Path) -> None:
    env = DreamVectorEnv(3, world=str(tiny_world), autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    mask = np.array([True, False, True])
    assert env.reset(options={"reset_mask": mask})[1]["_ticks"].tolist() == mask.tolist()


def test_a_list_of_seeds(tiny_world: Path) -> None:
    env = DreamVectorEnv(3, world=str(tiny_world))
    first, same, other = (env.reset(seed=seeds)[0] for seeds in ([1, 2, 3], [1, 2, 3], [1, 2, 4]))
    assert np.array_equal(first, same) and not np.array_equal(first, other)
    one = DreamVectorEnv(1, world=str(tiny_world))
    assert np.array_equal(one.reset(seed=[5])[0], one.reset(seed=5)[0]), "a list of one is its seed"
    env.reset(seed=[None] * 3)


@pytest.mark.parametrize("name", ["wm_envs:WMDream-v0", "wm_envs:WMDreamDiscrete-v0"])
def test_the_wrappers_of_cleanrl(tiny_world: Path, name: str) -> None:
    def make() -> Any:
        wrap = gym.wrappers
        env = wrap.RecordEpisodeStatistics(wrap.FlattenObservation(gym.make(name, world=str(tiny_world))))
        if not isinstance(env.action_space, gym.spaces.Box):
            return env
        env = wrap.NormalizeObservation(ClipAction(env))
        env = wrap.TransformObservation(env, lambda observation: np.clip(observation, -10, 10), env.observation_space)
        return wrap.TransformReward(wrap.NormalizeReward(env, gamma=0.99), lambda reward: np.clip(reward, -10, 10))

    envs = SyncVectorEnv([make] * 2)
    envs.reset(seed=1)
    envs.action_space.seed(0)
    seen = [envs.step(envs.action_space.sample())[4] for _ in range(60)]
    assert any("episode" in infos for infos in seen)


@pytest.mark.parametrize("vector", [DreamVectorEnv, RealVectorEnv])
def test_a_vector_env_names_its_base_class(vector: Any) -> None:
    """Where skrl looks for it."""
    assert gym.vector.VectorEnv in vector.__bases__
