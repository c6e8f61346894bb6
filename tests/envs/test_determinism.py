"""The same seed gives the same numbers: over threads, workers, processes, and whatever else a user turns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import fresh_process
from training.acting import rollout
from training.acting.policies import RandomHolds
from training.infra.pool import Workers
from wm_envs.envs.dream import DreamVectorEnv

HASHES = """
import hashlib, os
import gymnasium as gym, numpy as np, torch, wm_envs
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
for name in ("WMDream-v0", "WMDreamCarRacing-v0"):
    for lanes in (2, 16, 256):
        envs, rng = gym.make_vec(name, num_envs=lanes), np.random.default_rng(0)
        digest = hashlib.sha256(envs.reset(seed=5)[0].tobytes())
        for _ in range(12):
            actions = rng.uniform(-1, 1, envs.action_space.shape).astype(np.float32)
            digest.update(b"".join(np.asarray(value).tobytes() for value in envs.step(actions)[:4]))
        print(name, lanes, digest.hexdigest())
"""
SINGLE = """
import os
import gymnasium as gym, torch, wm_envs
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
for name in ("WMDream-v0", "WMDreamCarRacing-v0"):
    env = gym.make(name)
    env.reset(seed=5)
    for _ in range(3):
        observation = env.step(env.action_space.low)[0]
    print(*observation)
"""


def with_threads(code: str) -> list[str]:
    """What `code` prints with one thread and with two."""
    return [fresh_process(code, 300, OMP_NUM_THREADS=threads) for threads in ("1", "2")]


def test_shipped_dreams_are_the_same_with_any_number_of_threads() -> None:
    found = with_threads(HASHES)
    assert found[0] == found[1] and len(set(found[0].splitlines())) == 6


def test_a_single_shipped_dream_is_the_same_up_to_rounding() -> None:
    """On some processors BLAS adds a product of a vector and a matrix in another order with more threads."""
    one, two = (np.array([float(word) for word in said.split()]) for said in with_threads(SINGLE))
    assert len(one) == len(two) > 800 and np.abs(one - two).max() < 1e-3


@pytest.mark.parametrize("game", ["Box2D", "vizdoom"])
def test_real_games_are_the_same_with_any_number_of_workers(
    game: str, tiny_world: Path, tiny_drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(game)
    monkeypatch.setattr(rollout, "TILE", 2)  # three jobs
    world, renderer = (tiny_world, {}) if game == "vizdoom" else (tiny_drive, {"renderer": "fast"})
    policy = RandomHolds("random", 30, 60)
    found = [rollout.real_episodes(world, [policy], list(range(7, 13)), Workers(count), renderer) for count in (1, 3)]
    assert found[0] == found[1]


@given(
    st.floats(0.01, 5), st.integers(1, 9), st.sampled_from(AutoresetMode), st.integers(0, 2**63), st.integers(1, 12),
    st.sampled_from(["zh", "zch", "z", "pixels"]), st.sampled_from(["continuous", "discrete"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_dream_is_finite_in_its_space_and_the_same_twice(
    tiny_world: Path, temperature: float, lanes: int, mode: AutoresetMode, seed: int, limit: int, observation: str,
    actions: str,
) -> None:  # fmt: skip
    def play() -> list[Any]:
        env = DreamVectorEnv(lanes, limit, str(tiny_world), temperature, observation, actions, autoreset_mode=mode)
        env.action_space.seed(3)
        found: list[Any] = [env.reset(seed=seed)[0]]
        for _ in range(15):
            step = env.step(env.action_space.sample())
            found += step[:4]
            assert env.observation_space.contains(step[0]) and np.isfinite(step[0]).all()
            assert (step[1] >= 0).all() and not (step[2] & step[3]).any()
            over = step[2] | step[3]
            if mode == AutoresetMode.DISABLED and over.any():
                found.append(env.reset(options={"reset_mask": over})[0])
        return found

    for first, second in zip(play(), play(), strict=True):
        np.testing.assert_array_equal(first, second)
