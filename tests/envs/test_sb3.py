"""The native adapter to Stable-Baselines3, beside its own DummyVecEnv; and PPO in the dream."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import wm_envs  # noqa: F401 (registers the ids)
from tests.helpers import make_tiny_world
from training.infra.progress import Progress
from training.infra.records import to_json
from training.infra.run_folder import RunFolder
from training.learning.clip_reward import ClipReward
from training.learning.policy_network import ensemble, parameters_of, start_from
from training.stages import ppo
from training.stages.ppo import Command as PpoCommand
from wm_envs.envs.real import RealVectorEnv
from wm_envs.errors import Diverged, InvalidOption, OptionsDiffer
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.sb3 import LatentVecEnv, make_vec_env
from wm_envs.worlds.bundle import read_controller


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


def options(run: Path, **changes: Any) -> PpoCommand:
    small = {"total_timesteps": 512, "num_envs": 8, "n_steps": 16, "batch_size": 64, "n_epochs": 2,
             "validate_episodes": 0, "validate_every": 2, "hidden_sizes": (5,)}  # fmt: skip
    return PpoCommand.flat(run=run, **(small | changes))


def test_ppo_makes_a_controller_of_the_bundle(tmp_path: Path) -> None:
    make_tiny_world(tmp_path / "round-0/world")
    result = ppo.main(options(tmp_path))
    config, parameters = read_controller(tmp_path / "round-0/world", "ppo")
    assert (
        config.hidden_sizes == (5,)
        and config.choices == (0.0, 1.0, -1.0)
        and result.dream
        and result.dream.episodes == 256
    )
    assert read_controller(tmp_path / "round-0/world")[0].hidden_sizes == ()  # the one that was there
    assert len((tmp_path / "round-0" / "logs" / "ppo-ppo.csv").read_text().splitlines()) == 3
    assert ppo.main(options(tmp_path)) == result  # done already
    with pytest.raises(OptionsDiffer, match="gamma"):
        ppo.main(options(tmp_path, gamma=0.5))
    card = json.loads((tmp_path / "round-0/world" / "config.json").read_text())["controllers"]["ppo"]["card"]
    assert to_json(result) == card | {"curve": []}, "of validations in the game, of which there are none"
    assert torch.isfinite(parameters).all()


def test_ppo_that_was_stopped_comes_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, judged = tmp_path / "run", ppo.Training.evaluate
    make_tiny_world(run / "round-0/world")
    shutil.copytree(run, tmp_path / "start")
    ppo.main(options(run))
    run.rename(tmp_path / "whole")
    shutil.copytree(tmp_path / "start", run)
    monkeypatch.setattr(
        ppo.Training,
        "evaluate",
        lambda *given: judged(*given) if not (run / "round-0/ppo/ppo/best.json").exists() else 1 / 0,
    )
    with pytest.raises(ZeroDivisionError):
        ppo.main(options(run))
    monkeypatch.undo()
    ppo.main(options(run))
    for name in ("round-0/ppo/ppo/policy.safetensors", "round-0/world/controllers.safetensors"):
        found, expected = load_file(run / name), load_file(tmp_path / "whole" / name)
        assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found), name
    assert (run / "round-0/ppo/ppo/best.json").read_bytes() == (
        tmp_path / "whole/round-0/ppo/ppo/best.json"
    ).read_bytes()


def test_a_refused_option_is_not_remembered(tmp_path: Path) -> None:
    make_tiny_world(tmp_path / "round-0/world")
    with pytest.raises(InvalidOption, match="actions"):
        ppo.main(options(tmp_path, actions="fine"))  # CarRacing has those
    ppo.main(options(tmp_path))


def test_a_policy_that_diverged_is_kept_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny_world(tmp_path / "round-0/world")
    train, trained = PPO.train, 0

    def poisoned(learner: PPO) -> None:
        nonlocal trained
        train(learner)
        trained += 1
        if trained == 3:  # after the first validation
            learner.policy.action_net.bias.data[0] = float("nan")

    monkeypatch.setattr(PPO, "train", poisoned)
    kept = [
        tmp_path / "round-0" / name for name in ("ppo/ppo/policy.safetensors", "ppo/ppo/best.json", "world/config.json")
    ]
    seen: list[list[bytes]] = []
    log = Progress.log
    monkeypatch.setattr(Progress, "log", lambda *given: (seen.append([p.read_bytes() for p in kept]), log(*given)))
    with pytest.raises(Diverged, match="finite weights"):
        ppo.main(options(tmp_path))
    assert len(seen) == 1 and [path.read_bytes() for path in kept] == seen[0]


@pytest.mark.parametrize("hidden_sizes", [(), (5,), (6, 4)])
def test_the_controller_is_the_policy(tmp_path: Path, hidden_sizes: tuple[int, ...]) -> None:
    make_tiny_world(tmp_path / "round-0/world")
    training = ppo.Training(RunFolder(tmp_path).round(0), options(tmp_path, hidden_sizes=hidden_sizes))
    env = make_vec_env("WMDream-v0", 8, seed=0, world=str(tmp_path / "round-0/world"), actions="discrete")
    learner = PPO(
        "MlpPolicy", env, policy_kwargs={"net_arch": {"pi": list(hidden_sizes), "vf": [3]}}, seed=1, device="cpu"
    )
    with torch.no_grad():
        learner.policy.action_net.weight.mul_(100)
    config, parameters = training.controller, parameters_of(learner)
    features = env.reset()
    wanted, _ = learner.predict(features, deterministic=True)
    done = act(config, parameters, torch.from_numpy(features))
    np.testing.assert_array_equal(done.numpy(), np.array(training.world.task.actions.discrete, np.float32)[wanted])
    assert len(set(wanted.tolist())) > 1


@pytest.mark.parametrize("hidden_sizes", [(), (5,), (6, 4)])
def test_a_committee_scores_as_its_members_on_average(hidden_sizes: tuple[int, ...]) -> None:
    config = ControllerConfig(4, 8, 1, "zh", True, hidden_sizes)
    ensemble_size = [(config, 0.1 * torch.randn(config.parameters)) for _ in range(3)]  # far from tanh's ends
    merged, parameters = ensemble(ensemble_size)
    features = torch.randn(50, 12)
    mean = torch.stack([torch.atanh(act(config, one, features)) for _, one in ensemble_size]).mean(0)
    torch.testing.assert_close(torch.atanh(act(merged, parameters, features)), mean, atol=1e-4, rtol=1e-3)


def test_members_learn_and_decide_together(tmp_path: Path) -> None:
    make_tiny_world(tmp_path / "round-0/world")
    result = ppo.main(options(tmp_path, total_timesteps=128, ensemble_size=2))
    config, parameters = read_controller(tmp_path / "round-0/world", "ppo")
    single = [read_controller(tmp_path / "round-0/world", name) for name in ("ppo-1", "ppo-2")]
    assert config.hidden_sizes == (10,) and not torch.equal(single[0][1], single[1][1])
    assert torch.equal(ensemble(single)[1], parameters) and result.dream and result.dream.episodes == 256


def test_ppo_goes_on_from_a_controller(tmp_path: Path) -> None:
    make_tiny_world(tmp_path / "round-0/world")
    ppo.main(options(tmp_path))
    env = make_vec_env("WMDream-v0", 8, seed=0, world=str(tmp_path / "round-0/world"), actions="discrete")
    learner = PPO("MlpPolicy", env, policy_kwargs={"net_arch": {"pi": [5], "vf": [3]}}, device="cpu")
    known = read_controller(tmp_path / "round-0/world", "ppo")
    start_from(learner, *known, ppo.Training(RunFolder(tmp_path).round(0), options(tmp_path)).controller)
    assert torch.equal(parameters_of(learner), known[1])
    ppo.main(options(tmp_path, name="second", start="ppo"))
    with pytest.raises(InvalidOption, match="start"):
        ppo.main(options(tmp_path, name="third", start="ppo", hidden_sizes=(6,)))


def test_ppo_goes_on_with_finer_actions(own_drive: Path) -> None:
    """Each fine action begins as the nearest of those that the controller chose from."""
    small = options(own_drive.parent.parent, total_timesteps=128)
    ppo.main(small)
    fine_config = small.config.replace(actions="fine", learning_rate=1e-9)
    ppo.main(small.replace(name="fine", start="ppo", config=fine_config))
    (coarse, before), (fine, after) = (read_controller(own_drive, name) for name in ("ppo", "fine"))
    assert len(fine.choices) == 3 * 28 and fine.hidden_sizes == coarse.hidden_sizes
    features = torch.randn(50, fine.features)
    there, chosen = torch.tensor(coarse.choices).view(-1, 3), act(fine, after, features)
    expected = act(coarse, before, features)
    assert torch.equal(there[torch.cdist(chosen, there).argmin(1)], expected)


def test_rewards_are_capped_and_nothing_else(tiny_world: Path) -> None:
    plain, capped, uncapped = (make_vec_env("WMDream-v0", 4, seed=7, world=str(tiny_world)) for _ in range(3))
    envs = [plain, ClipReward(capped, 3.0), ClipReward(uncapped, np.inf)]
    first = [env.reset() for env in envs]
    assert np.array_equal(first[0], first[1])
    for _ in range(30):
        total_timesteps = [env.step(np.zeros((4, 1), np.float32)) for env in envs]
        np.testing.assert_array_equal(total_timesteps[1][1], np.minimum(total_timesteps[0][1], 3.0))
        np.testing.assert_array_equal(total_timesteps[2][1], total_timesteps[0][1])
        for part in (0, 2):
            np.testing.assert_array_equal(total_timesteps[1][part], total_timesteps[0][part])


def test_ppo_learns_in_the_real_game(tmp_path: Path, tiny_drive: Path) -> None:
    pytest.importorskip("Box2D")
    shutil.copytree(tiny_drive, tmp_path / "round-0/world")
    result = ppo.main(options(tmp_path, train_in="game", num_envs=2, n_steps=8, batch_size=16, total_timesteps=32))
    assert read_controller(tmp_path / "round-0/world", "ppo")[0].action == 3 and result.dream


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


def test_a_curious_ppo_keeps_its_last_policy(tmp_path: Path, tiny_drive: Path) -> None:
    pytest.importorskip("Box2D")
    shutil.copytree(tiny_drive, tmp_path / "round-0/world")
    given = options(
        tmp_path,
        train_in="game",
        num_envs=2,
        n_steps=8,
        batch_size=16,
        total_timesteps=64,
        curious=True,
        validate_every=1,
    )
    ppo.main(given)
    last = load_file(tmp_path / "round-0/ppo/ppo/policy.safetensors")["model/action_net.bias"]
    _, parameters = read_controller(tmp_path / "round-0/world", "ppo")
    torch.testing.assert_close(parameters[-len(last) :], last)
    with pytest.raises(InvalidOption, match="curious"):
        ppo.main(options(tmp_path, curious=True))


def test_ppo_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    make_tiny_world(tmp_path / "round-0/world")
    ppo.main(options(tmp_path, total_timesteps=256))
    checkpoint = tmp_path / "round-0/ppo/ppo" / "policy.safetensors"
    before = checkpoint.read_bytes()
    (tmp_path / "round-0/ppo/ppo" / "options.json").unlink()  # ask for more steps than before
    ppo.main(options(tmp_path, total_timesteps=512))
    assert checkpoint.read_bytes() != before


@pytest.mark.parametrize(("field", "value"), [
    ("total_timesteps", 0), ("num_envs", -1), ("gamma", float("nan")), ("temperature", 0.0), ("observation", "pixels"),
    ("hidden_sizes", (0,)), ("gamma", 1.5), ("n_epochs", 1.5), ("train_in", "other"), ("name", "../x"),
    ("settings", ("lap",)), ("settings", ("off_road_cost=1",)),
])  # fmt: skip
def test_bad_options_are_named_before_any_work(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=field):
        ppo.main(options(tmp_path, **{field: value}))
    assert not any(tmp_path.iterdir())
