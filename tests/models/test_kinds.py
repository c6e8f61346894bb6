"""Kinds of V and M: what their configs refuse, what can be set in training, and kinds from outside of the package."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import wm_envs  # noqa: F401 (registers the ids)
from tests.helpers import TINY, tiny_model
from tests.models.outside_kinds import (
    GaussianGRU,
    GaussianGRUConfig,
    PooledVAE,
    PooledVAEConfig,
    outside_kinds,  # noqa: F401 (a fixture)
)
from training.infra.checkpoint import load_checkpoint, read_memory_config, read_vision, save_checkpoint
from wm_envs.errors import BrokenWorld
from wm_envs.models.kinds import Kinds
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.vision.conv_vae import ConvVAE, ConvVAEConfig
from wm_envs.models.vision.registry import register_vision, vision_kinds
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world, save_world

OPTIONS = {
    "conv-vae": {"latent", "channels"},
    "residual-vae": {"latent", "channels"},
    "column-vae": {"latent", "channels", "per_column"},
    "mdn-rnn": {"hidden", "mixtures", "joint"},
    "autoregressive": {"hidden", "mixtures", "units"},
}


def test_fields_with_a_description_are_those_that_training_can_set() -> None:
    described = {
        name: {field for field, info in kind.config.__pydantic_fields__.items() if info.description}
        for kinds in (vision_kinds(), memory_kinds())
        for name, kind in kinds.items()
    }
    assert described == OPTIONS


@pytest.mark.parametrize(("kinds", "values", "problem"), [
    (vision_kinds(), {"kind": "cubist"}, "the kind is 'cubist', expected one of"),
    (vision_kinds(), {"latent": 4}, "the kind is None"),
    (vision_kinds(), [], "the kind is None"),
    (vision_kinds(), {"kind": "conv-vae", "latent": "64"}, "latent is '64': input should be a valid integer"),
    (vision_kinds(), {"kind": "conv-vae", "channels": [4, 4, 4, 99_999]}, "channels.3 is 99999: input should be less"),
    (vision_kinds(), {"kind": "conv-vae", "per_column": 3}, "per_column is 3: unexpected"),
    (vision_kinds(), {"kind": "column-vae", "latent": 48}, "latent is 48, expected more than the 16 * 3 latents"),
    (memory_kinds(), {"kind": "mdn-rnn", "hidden": True}, "hidden is True: input should be a valid integer"),
    (memory_kinds(), {"kind": "mdn-rnn", "termination_weight": float("nan")}, "termination_weight is nan: input"),
    (memory_kinds(), {"kind": "autoregressive", "active": [64]}, "expected different dimensions from 0 to 63"),
    (memory_kinds(), {"kind": "autoregressive", "joint": True}, "joint is True"),
])  # fmt: skip
def test_the_first_problem_of_a_config_is_one_line(kinds: Kinds, values: Any, problem: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 (its text is compared)
        kinds.read(values)
    assert problem in str(raised.value) and "\n" not in str(raised.value)


def test_a_name_is_of_one_kind() -> None:
    register_vision(ConvVAEConfig, ConvVAE)  # again
    with pytest.raises(ValueError, match="conv-vae"):
        register_vision(ConvVAEConfig, PooledVAE)
    with pytest.raises(ValueError, match="is not 'conv-vae', the kind of ConvVAEConfig"):
        ConvVAEConfig(kind="column-vae")


# --- kinds from outside -------------------------------------------------------------------------------


def outside_world() -> WorldModel:
    torch.manual_seed(0)
    first = tiny_model()
    vision, memory = PooledVAE(PooledVAEConfig(4)), GaussianGRU(GaussianGRUConfig(4, 1, 8))
    vision.prepare(torch.rand(9, 3, 64, 64))
    config = dataclasses.replace(TINY, vision=vision.config, memory=memory.config)
    return WorldModel(config, vision, memory, first.initial_means, first.initial_logvars)


@pytest.mark.usefixtures("outside_kinds")
def test_a_world_of_outside_kinds_is_saved_opened_and_dreamt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = outside_world()
    save_world(tmp_path / "world", made)
    found = load_world(tmp_path / "world")
    assert found.config == made.config and isinstance(found.memory, GaussianGRU)
    torch.testing.assert_close(found.vision.mean_frame, made.vision.mean_frame.half().float())
    envs = gym.make_vec("WMDream-v0", num_envs=3, world=str(tmp_path / "world"), render_mode="rgb_array")
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (3, 4 + 8) and envs.render()[0].shape[-1] == 3
    for _ in range(10):
        observations, *_ = envs.step(envs.action_space.sample())
        assert np.isfinite(observations).all() and observations in envs.observation_space
    monkeypatch.undo()  # the kinds are not registered any more
    with pytest.raises(BrokenWorld, match="the kind is 'pooled-vae', expected one of"):
        load_world(tmp_path / "world")


@torch.no_grad()
def test_the_step_of_every_m_is_a_sequence_of_one() -> None:
    m, latents, actions = GaussianGRU(GaussianGRUConfig(4, 1, 8)), torch.randn(7, 3, 4), torch.randn(7, 3, 1)
    ticks = torch.arange(7)[:, None].expand(7, 3) * 4
    whole, recurrent = m.split(m(m.assemble(latents, actions, ticks), m.initial_state(3))[0]), m.initial_state(3)
    for step in range(7):
        said, recurrent = m.step(latents[step], actions[step], ticks[step], recurrent)
        torch.testing.assert_close(said.mean, whole.mean[step])


@pytest.mark.usefixtures("outside_kinds")
def test_outside_kinds_train_and_are_kept_in_checkpoints(tmp_path: Path) -> None:
    world = outside_world()
    images = torch.rand(5, 3, 64, 64)
    vision, memory = world.vision.requires_grad_(True), world.memory.requires_grad_(True)
    vision.loss(images, *vision(images, torch.randn(5, 4))).backward()
    outputs, _ = memory(torch.randn(6, 2, memory.inputs), memory.initial_state(2))
    ones = torch.ones(6, 2)
    memory.loss(memory.split(outputs), torch.randn(6, 2, 4), 0 * ones, ones, ones)[2].backward()
    assert all(p.grad is not None for p in (*vision.parameters(), *memory.parameters()))
    for name, model in (("v", vision), ("m", memory)):
        optimizer = torch.optim.Adam(model.parameters())
        optimizer.step()
        save_checkpoint(tmp_path / f"{name}.safetensors", model, optimizer, 1)
        assert load_checkpoint(tmp_path / f"{name}.safetensors", model, optimizer)[0] == 1
    again = read_vision(tmp_path / "v.safetensors")
    assert torch.equal(again.encode(images)[0], vision.encode(images)[0])
    assert read_memory_config(str(tmp_path / "m.safetensors")) == memory.config
