"""What other people's RL code expects of an environment: ids, specs, infos, copies, memory, threads and messages."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import fresh_process, tiny_model
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import (
    ClipAction,
    FlattenObservation,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    RescaleAction,
    TimeAwareObservation,
    TransformObservation,
    TransformReward,
)

import wm_envs
from wm_envs.envs.dream import DreamEnv, DreamVectorEnv
from wm_envs.envs.real import RealEnv, RealVectorEnv
from wm_envs.errors import ControllerMismatch, InvalidAction, InvalidOption, UnknownKeyword
from wm_envs.games.registry import TASKS
from wm_envs.models.bundle import load_controller, load_world, save_world
from wm_envs.models.controller import act

PLAIN = ("WMDream-v0", "WMTakeCover-v0", "WMDreamCarRacing-v0", "WMCarRacing-v0")


# --- ids ----------------------------------------------------------------------------------------------


def test_a_process_that_knows_only_the_id(tiny_world: Path) -> None:
    """As the workers of RLlib and TorchRL: Gymnasium imports what stands before the colon."""
    code = "import gymnasium as gym; print(gym.make('wm_envs:WMDream-v0', world={!r}).reset(seed=0)[0].shape)"
    assert fresh_process(code.format(str(tiny_world))) == "(12,)\n"


@pytest.mark.parametrize("plain", PLAIN)
def test_ids_with_discrete_actions_and_pixels(plain: str) -> None:
    name = plain.removesuffix("-v0")
    for suffix, observation, actions in (
        ("Discrete", "zh", "discrete"), ("Pixels", "pixels", "continuous"), ("DiscretePixels", "pixels", "discrete")
    ):  # fmt: skip
        keywords = gym.spec(f"{name}{suffix}-v0").kwargs
        assert keywords["world"] == gym.spec(plain).kwargs["world"]
        assert (keywords.get("observation", "zh"), keywords.get("actions", "continuous")) == (observation, actions)


def test_an_id_with_discrete_pixels(tiny_world: Path) -> None:
    env = gym.make("WMDreamDiscretePixels-v0", world=str(tiny_world))
    assert env.observation_space.shape == (64, 64, 3) and env.action_space == gym.spaces.Discrete(3)


# --- keywords and actions -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [DreamEnv, DreamVectorEnv, RealEnv, RealVectorEnv])
def test_an_unknown_keyword_is_a_type_error(tiny_drive: Path, make: Any) -> None:
    with pytest.raises(UnknownKeyword, match=r"'frameskip': got 4.*observation.*Fix: omit frameskip") as raised:
        make(world=str(tiny_drive), frameskip=4)
    assert isinstance(raised.value, TypeError) and raised.value.field == "frameskip"


@pytest.mark.parametrize("name", ["WMDream-v0", "WMTakeCover-v0"])
def test_gym_make_tells_of_an_unknown_keyword(tiny_world: Path, name: str) -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'frameskip'.*observation"):
        gym.make(name, world=str(tiny_world), frameskip=4)


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
    ("discrete", False, np.zeros(1, int), "one whole number from 0 to 2, not an array"),
    ("discrete", True, np.zeros((3, 1), int), r"shape \(3,\) with whole numbers"),
])  # fmt: skip
def test_the_shape_that_is_named_is_the_one_that_is_wanted(
    tiny_world: Path, actions: str, many: bool, action: Any, wanted: str
) -> None:
    env: Any = DreamVectorEnv(3, world=str(tiny_world), actions=actions)
    if not many:
        env = DreamEnv(str(tiny_world), actions=actions)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=wanted):
        env.step(action)


# --- specs and limits ---------------------------------------------------------------------------------


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


# --- infos and seeds ----------------------------------------------------------------------------------


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


def test_infos_of_resets_are_those_of_sync_vector_env(tiny_world: Path) -> None:
    """In the mode NEXT_STEP, up to the first reset and with it."""
    ours = DreamVectorEnv(1, world=str(tiny_world))
    theirs = SyncVectorEnv([lambda: DreamEnv(str(tiny_world))])
    first = ours.reset(seed=3)[1], theirs.reset(seed=3)[1]
    assert all(np.array_equal(first[0][name], first[1][name]) for name in first[1])
    over = False
    for _ in range(40):
        mine, reference = (env.step(np.zeros((1, 1), np.float32)) for env in (ours, theirs))
        assert all(np.array_equal(mine[4][name], reference[4][name]) for name in reference[4])
        if over:
            break
        over = bool(reference[2][0])
    assert over


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
        env = RecordEpisodeStatistics(FlattenObservation(gym.make(name, world=str(tiny_world))))
        if not isinstance(env.action_space, gym.spaces.Box):
            return env
        env = NormalizeObservation(ClipAction(env))
        env = TransformObservation(env, lambda observation: np.clip(observation, -10, 10), env.observation_space)
        return TransformReward(NormalizeReward(env, gamma=0.99), lambda reward: np.clip(reward, -10, 10))

    envs = SyncVectorEnv([make] * 2)
    envs.reset(seed=1)
    envs.action_space.seed(0)
    seen = [envs.step(envs.action_space.sample())[4] for _ in range(60)]
    assert any("episode" in infos for infos in seen)


def test_statistics_of_episodes(tiny_world: Path) -> None:
    env = RecordEpisodeStatistics(gym.make("WMDream-v0", world=str(tiny_world)))
    env.reset(seed=0)
    done = False
    while not done:
        *_, terminated, truncated, info = env.step(np.zeros(1, np.float32))
        done = terminated or truncated
    assert info["episode"]["l"] > 0


@pytest.mark.parametrize("vector", [DreamVectorEnv, RealVectorEnv])
def test_a_vector_env_names_its_base_class(vector: Any) -> None:
    """Where skrl looks for it."""
    assert gym.vector.VectorEnv in vector.__bases__


# --- copies -------------------------------------------------------------------------------------------


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


# --- memory and threads -------------------------------------------------------------------------------


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


# --- pictures, keys and policies ----------------------------------------------------------------------


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
    config, parameters = load_controller(tiny_world, "controller")
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
    table = np.array(TASKS["takecover"].discrete_actions, np.float32)
    assert np.array_equal(table[chosen.predict(observations)[0]], plain.predict(observations)[0])
    short = sb3.make_vec_env("WMDreamDiscrete-v0", n_envs=4, seed=0, max_episode_steps=5)
    assert evaluate_policy(chosen, short, n_eval_episodes=4)[0] == 20


# --- Stable-Baselines3 --------------------------------------------------------------------------------


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
