"""What RL tools do with an environment: copy it, share its weights, draw it, play it by keys, load its policies."""

import copy
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import wm_envs
from tests.helpers import fresh_process, tiny_model
from wm_envs.envs.dream import DreamEnv, DreamVectorEnv
from wm_envs.envs.real import RealEnv, RealVectorEnv
from wm_envs.errors import ControllerMismatch, InvalidOption
from wm_envs.games.registry import TASKS
from wm_envs.models.controller import act
from wm_envs.worlds.bundle import load_world, read_controller, save_world


@pytest.mark.parametrize("make", [pickle.dumps, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_copy_is_a_fresh_env(tiny_world: Path, make: Any) -> None:
    env = gym.make("WMDream-v0", world=str(tiny_world), temperature=1.3)
    env.reset(seed=0)
    for original in (env, env.unwrapped, DreamVectorEnv(2, world=str(tiny_world), temperature=1.3)):
        made = make(original)
        twin = pickle.loads(made) if isinstance(made, bytes) else made
        assert twin.unwrapped.temperature == 1.3 and twin.spec == original.spec
        assert np.array_equal(twin.reset(seed=4)[0], original.reset(seed=4)[0])


def test_a_copy_of_real_games(tiny_drive: Path) -> None:
    pytest.importorskip("Box2D")
    for env in (RealEnv(str(tiny_drive), renderer="fast", off_road_cost=2.0), RealVectorEnv(2, world=str(tiny_drive))):
        twin = pickle.loads(pickle.dumps(env))
        assert np.array_equal(twin.reset(seed=4)[0], env.reset(seed=4)[0])
        env.close(), twin.close()


def test_tasks_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(TASKS)) == TASKS


def test_envs_share_their_weights(tiny_world: Path) -> None:
    first, second = DreamEnv(str(tiny_world)), DreamEnv(str(tiny_world), termination="threshold", observation="pixels")
    assert second.world.config.termination == "threshold" and first.world.config.termination == "sampled"
    assert second.world.memory.head.weight is first.world.memory.head.weight
    assert second.world.vision is first.world.vision
    own = load_world(str(tiny_world))
    assert own.memory.head.weight is not first.world.memory.head.weight, "what is loaded to be trained is its own"


def test_a_world_that_was_made_again_is_loaded_again(own_world: Path) -> None:
    first = DreamEnv(str(own_world))
    save_world(own_world, tiny_model(3.0))
    second = DreamEnv(str(own_world))
    assert not torch.equal(first.world.memory.head.bias, second.world.memory.head.bias)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_16_envs_take_about_the_memory_of_one() -> None:
    code = """
import gymnasium as gym, wm_envs
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
def began():
    env = gym.make("WMDream-v0")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    return env
envs, one = [began()], resident()
envs += [began() for _ in range(15)]
print(resident() - one)
"""
    assert float(fresh_process(code)) < 60  # MiB; each of them once took 35


def test_envs_in_threads_do_not_disturb_each_other(tiny_world: Path) -> None:
    def play(seed: int, into: dict[int, list[bytes]]) -> None:
        env = DreamVectorEnv(16, world=str(tiny_world))
        env.action_space.seed(seed)
        into[seed] = [env.reset(seed=seed)[0].tobytes()]
        into[seed] += [env.step(env.action_space.sample())[0].tobytes() for _ in range(150)]

    alone: dict[int, list[bytes]] = {}
    together: dict[int, list[bytes]] = {}
    for seed in range(3):
        play(seed, alone)
    threads = [threading.Thread(target=play, args=(seed, together)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_the_checker_is_content_without_a_display(tiny_world: Path) -> None:
    pytest.importorskip("pygame")
    code = f"""
import os
for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
    os.environ.pop(name, None)
import warnings, gymnasium as gym, wm_envs
from gymnasium.utils.env_checker import check_env
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    check_env(gym.make("WMDream-v0", world={str(tiny_world)!r}).unwrapped)
print([str(w.message) for w in caught])
"""
    said = fresh_process(code)
    assert "There is no display" in said and said.count("WARN") == 1


def test_a_larger_picture(tiny_world: Path) -> None:
    small, large = (DreamEnv(str(tiny_world), render_mode="rgb_array", render_size=size) for size in (None, 160))
    for env in (small, large):
        env.reset(seed=0)
    assert large.render().shape == (160, 160, 3)
    assert np.array_equal(large.render()[::5, ::5], small.render()[::2, ::2])
    vector = gym.make_vec("WMDream-v0", num_envs=2, world=str(tiny_world), render_mode="rgb_array", render_size=128)
    vector.reset(seed=0)
    assert vector.render()[1].shape == (128, 128, 3)
    for size in (63, 0, 100.0, True, "large", 10**6):
        with pytest.raises(InvalidOption, match="render_size"):
            DreamEnv(str(tiny_world), render_size=size)


@pytest.mark.parametrize("actions", ["continuous", "discrete"])
def test_keys_for_gymnasiums_play(tiny_world: Path, tiny_drive: Path, actions: str) -> None:
    env = gym.make("WMDream-v0", world=str(tiny_world), actions=actions)
    keys = env.get_wrapper_attr("get_keys_to_action")()
    assert all(action in env.action_space for action in keys.values())
    right, left = keys["d",], keys["a",]
    assert (right, left) == ((1, 2) if actions == "discrete" else (1.0, -1.0)) and keys[1073741904,] == left
    drive = gym.make("WMDreamCarRacing-v0", world=str(tiny_drive), actions=actions)
    keys = drive.get_wrapper_attr("get_keys_to_action")()
    assert all(action in drive.action_space for action in keys.values()) and ("d", "w") in keys


def test_a_controller_as_a_torch_module(tiny_world: Path) -> None:
    config, parameters = read_controller(tiny_world, "controller")
    module = wm_envs.load_controller(tiny_world, "controller")
    features = torch.randn(5, 12)
    assert torch.equal(module(features), act(config, parameters, features))
    module(features).sum().backward()
    assert module.weights.grad is not None
    with pytest.raises(ControllerMismatch):
        module(torch.randn(5, 4))


def test_a_controller_as_a_policy(tiny_world: Path) -> None:
    sb3 = pytest.importorskip("wm_envs.sb3")
    env = gym.make("WMDream-v0", world=str(tiny_world))
    policy = sb3.load_policy(tiny_world)
    action, state = policy.predict(env.reset(seed=0)[0], deterministic=True)
    assert action in env.action_space and state is None
    env.step(action)
    envs = sb3.make_vec_env("WMDream-v0", n_envs=3, seed=0, world=str(tiny_world))
    envs.step(policy.predict(envs.reset())[0])
    with pytest.raises(InvalidOption, match="actions"):
        sb3.load_policy(tiny_world, actions="discrete")


def test_a_shipped_controller_as_a_policy_of_discrete_actions() -> None:
    sb3 = pytest.importorskip("wm_envs.sb3")
    from stable_baselines3.common.evaluation import evaluate_policy

    chosen, plain = sb3.load_policy("takecover", actions="discrete"), sb3.load_policy("takecover")
    envs = sb3.make_vec_env("WMDreamDiscrete-v0", n_envs=8, seed=0)
    observations = envs.reset()
    table = np.array(TASKS["takecover"].actions.discrete, np.float32)
    assert np.array_equal(table[chosen.predict(observations)[0]], plain.predict(observations)[0])
    short = sb3.make_vec_env("WMDreamDiscrete-v0", n_envs=4, seed=0, max_episode_steps=5)
    assert evaluate_policy(chosen, short, n_eval_episodes=4)[0] == 20


def test_names_of_make_vec_env(tiny_world: Path) -> None:
    sb3 = pytest.importorskip("wm_envs.sb3")
    keywords = {"world": str(tiny_world), "actions": "discrete"}
    made = [
        sb3.make_vec_env("WMDream-v0", n_envs=4, env_kwargs=keywords), sb3.make_vec_env("WMDream-v0", 4, **keywords),
        sb3.make_vec_env("WMDream-v0", num_envs=4, **keywords),
    ]  # fmt: skip
    assert all(env.num_envs == 4 and env.action_space == gym.spaces.Discrete(3) for env in made)
    with pytest.raises(InvalidOption, match="num_envs"):
        sb3.make_vec_env("WMDream-v0", n_envs=4, num_envs=4, **keywords)


def test_rewards_of_episodes_are_shown(tiny_world: Path) -> None:
    sb3 = pytest.importorskip("wm_envs.sb3")
    from stable_baselines3 import PPO

    envs = sb3.make_vec_env("WMDream-v0", n_envs=8, seed=0, world=str(tiny_world), actions="discrete")
    learner = PPO("MlpPolicy", envs, n_steps=32, batch_size=64, n_epochs=1, device="cpu", seed=0)
    learner.learn(256)
    shown = [episode["r"] / episode["l"] for episode in learner.ep_info_buffer]
    assert len(shown) > 5 and all(2.5 <= rate <= 4 for rate in shown)
