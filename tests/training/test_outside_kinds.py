"""Kinds of V and M from outside: trained, shipped and opened by the commands, which know nothing of them."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from tests.helpers import synthetic_store
from tests.models.outside_kinds import GaussianGRU, PooledVAE, outside_kinds  # noqa: F401
from training.__main__ import TRAINING
from wm_envs.errors import UnknownName
from wm_envs.worlds.bundle import load_world

pytestmark = pytest.mark.usefixtures("outside_kinds")


def test_they_are_trained_shipped_and_opened(tmp_path: Path) -> None:
    run, bundle = synthetic_store(tmp_path / "run"), tmp_path / "bundle"
    few = ["--run", str(run), "--checkpoint-every", "3"]
    sizes = ["--hidden", "8", "--batch-size", "4", "--sequence-length", "8", "--steps", "96", "--workers", "1"]
    learner = ["--num-envs", "2", "--n-steps", "8", "--total-timesteps", "32", "--validate-episodes", "0"]
    for words in (
        ["vision", "--kind", "pooled-vae", "--cells", "8", "--latent", "4", "--batches", "6", *few],
        ["memory", "--kind", "gaussian-gru", *sizes, *few],
        ["ppo", "--run", str(run), "--name", "c", "--batch-size", "16", *learner],
        ["publish", "--world", str(run / "round-0/world"), "--to", str(bundle), "--controllers", "c"],
    ):
        assert TRAINING.main(words) == 0, words
    world = load_world(bundle)
    assert isinstance(world.vision, PooledVAE) and world.vision.config.cells == 8
    assert isinstance(world.memory, GaussianGRU)
    env = gym.make("WMDream-v0", world=str(bundle))
    observation, _ = env.reset(seed=0)
    assert np.isfinite(observation).all() and np.isfinite(env.step(env.action_space.sample())[0]).all()


def test_a_kind_has_its_own_options_only() -> None:
    with pytest.raises(UnknownName, match=r"--per-column"):
        TRAINING.parse("vision", ["--kind", "pooled-vae", "--per-column", "2"])
    with pytest.raises(UnknownName, match=r"--cells"):
        TRAINING.parse("vision", ["--kind", "column-vae", "--cells", "2"])
    run = TRAINING.parse("run", ["--vision.kind", "pooled-vae", "--vision.cells", "2", "--memory.kind", "gaussian-gru"])
    assert type(run).from_json(run.as_json()) == run
