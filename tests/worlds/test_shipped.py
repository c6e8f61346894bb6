"""The shipped worlds: they load offline, and their dreams and controllers match the recorded figures."""

import functools

import gymnasium as gym
import numpy as np
import pytest
import torch

import wm_envs
from tests.helpers import fresh_process
from training.acting.policies import load_policy
from training.acting.rollout import dream_episodes
from training.judging.battery import open_loop_battery
from training.judging.scoring import UNSEEN_DREAMS
from wm_envs import hardware
from wm_envs.models.state import LATENT_LIMIT
from wm_envs.worlds.bundle import load_world, read_config, resolve, shipped_worlds

DREAMS = 192
IDS = {"takecover": "WMDream-v0", "carracing": "WMDreamCarRacing-v0", "takecover-paper": "WMDream-v0"}
ALL = pytest.mark.parametrize("world", IDS)


def test_three_worlds_are_shipped() -> None:
    assert shipped_worlds() == sorted(IDS)


@ALL
def test_size_and_model_card(world: str) -> None:
    folder = resolve(world)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 16e6
    assert (folder / "README.md").read_text().startswith(f"# World `{world}`")


@ALL
def test_make_by_id_imports_no_game_and_no_training_package(world: str) -> None:
    keywords = ", world='takecover-paper'" if world == "takecover-paper" else ""
    code = (
        f"import sys, gymnasium as gym, wm_envs; env = gym.make('{IDS[world]}'{keywords}); env.reset(seed=0);"
        "env.step(env.action_space.sample());"
        "print([name for name in ('vizdoom', 'Box2D', 'zarr', 'cma', 'pygame') if name in sys.modules])"
    )
    nowhere = "http://127.0.0.1:9"
    assert fresh_process(code, http_proxy=nowhere, https_proxy=nowhere) == "[]\n"


@functools.cache
def returns(name: str, policy_name: str) -> tuple[np.ndarray, dict]:
    """Returns of a policy of the fidelity test in new dreams, and its recorded figures."""
    world, recorded = load_world(name), read_config(resolve(name))["card"]["fidelity"]
    row = next(row for row in recorded["policies"] if row["policy"] == policy_name)
    scripts = {policy.name: policy for policy in open_loop_battery(world.task)}
    policy = scripts.get(policy_name) or load_policy(name, policy_name)
    dreams = dream_episodes(world, policy, DREAMS, recorded["temperature"], seed=UNSEEN_DREAMS + 77)
    return dreams.returns[0], row["dream"]


@pytest.mark.parametrize(("world", "policy"), [
    ("takecover", "constant (1.0,)"), ("takecover", "alternate 20"), ("takecover", "hold 5-60"),
    ("takecover", "controller"), ("takecover-paper", "alternate 20"), ("takecover-paper", "controller"),
    ("carracing", "constant (0.0, 1.0, 0.0)"), ("carracing", "hold 5-20"), ("carracing", "controller"),
])  # fmt: skip
def test_dream_returns_match_the_recorded_ones(world: str, policy: str) -> None:
    found, recorded = returns(world, policy)
    spread = recorded["std"] / np.sqrt(DREAMS) + recorded["std"] / np.sqrt(recorded["episodes"])
    assert abs(found.mean() - recorded["mean"]) < 4 * spread
    assert 0.5 < found.std() / recorded["std"] < 2


@pytest.mark.parametrize(("world", "random"), [("takecover", "hold 1-10"), ("carracing", "hold 1-5")])
def test_controller_beats_random_play(world: str, random: str) -> None:
    assert returns(world, "controller")[0].mean() > max(100, 2 * returns(world, random)[0].mean())


@ALL
@pytest.mark.parametrize("each", [1, 2])  # a batch of five uses float32, one of ten bfloat16
@pytest.mark.parametrize("steps", [200, pytest.param(100_000, marks=pytest.mark.slow)])  # minutes
def test_endless_dream_stays_finite(world: str, each: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "fast_bfloat16", lambda: True)
    model, generator = load_world(world), torch.Generator().manual_seed(3)
    temperature = torch.tensor([0.1, 0.5, 1.0, 1.3, 3.0]).repeat_interleave(each)[:, None]
    state = model.initial_state(len(temperature), generator)
    sound = torch.ones(len(temperature), dtype=torch.bool)
    for _ in range(steps):
        agent = 2 * torch.rand(len(temperature), model.task.actions.size, generator=generator) - 1
        action = torch.from_numpy(model.task.actions.to_game(agent.numpy()))
        state, outcome = model.step(state, action, model.draw_noise(len(temperature), generator), temperature)
        sound &= (state.latents.abs() <= LATENT_LIMIT).all(1) & (state.recurrent[0].abs() <= 1).all(1)
        sound &= state.recurrent[1].isfinite().all(1) & outcome.reward.isfinite()
        sound &= (outcome.termination_probability >= 0) & (outcome.termination_probability <= 1)
    assert sound.all() and int(state.ticks[0]) >= steps * model.config.frame_skip


@ALL
def test_dream_of_a_batch_is_close_to_the_single_dream(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch uses bfloat16, a single dream float32: the first steps agree within 0.02."""
    monkeypatch.setattr(hardware, "fast_bfloat16", lambda: True)
    model = load_world(world)
    state = model.initial_state(16, torch.Generator().manual_seed(0))
    many, *_ = model.predict(state, torch.ones(16, model.task.actions.size))
    said = "context" if model.config.memory.kind == "autoregressive" else "means"
    outputs = getattr(many, said)[:2].float().clone()
    one, *_ = model.predict(state.select(torch.arange(2)), torch.ones(2, model.task.actions.size))
    assert float((outputs - getattr(one, said)).abs().mean()) < 0.02


def test_the_default_world_shows_what_m_models_and_plays() -> None:
    assert sum(path.stat().st_size for path in resolve("takecover").iterdir()) < 12e6
    envs = gym.make_vec("WMDream-v0", num_envs=8)
    modelled = len(load_world("takecover").config.memory.active)  # type: ignore[attr-defined]
    assert envs.single_observation_space.shape == (modelled + 512,)  # type: ignore[attr-defined]
    controller = wm_envs.load_controller()
    observations, _ = envs.reset(seed=0)
    for _ in range(10):
        with torch.no_grad():
            observations, *_ = envs.step(controller(torch.from_numpy(observations)).numpy())
    assert np.isfinite(observations).all()
