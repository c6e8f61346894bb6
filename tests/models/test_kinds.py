"""Kinds of V and M: what their configs refuse, what can be set in training, and kinds from outside of the package."""

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from tests.models.outside_kinds import GaussianGRUConfig, PooledVAE, PooledVAEConfig, outside_kinds  # noqa: F401
from training.infra.checkpoint import load_checkpoint, read_memory_config, read_vision, save_checkpoint
from wm_envs.errors import BrokenWorld
from wm_envs.models.kinds import Kinds
from wm_envs.models.memory.autoregressive import AutoregressiveConfig
from wm_envs.models.memory.base import MemoryConfig
from wm_envs.models.memory.mdn_rnn import MDNRNNConfig
from wm_envs.models.memory.registry import memory_kinds
from wm_envs.models.vision.base import VisionConfig
from wm_envs.models.vision.column_vae import ColumnVAEConfig
from wm_envs.models.vision.conv_vae import ConvVAE, ConvVAEConfig
from wm_envs.models.vision.grid_vae import GridVAEConfig
from wm_envs.models.vision.registry import register_vision, vision_kinds
from wm_envs.models.vision.residual_vae import ResidualVAEConfig
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.worlds.bundle import load_world, save_world

pytestmark = pytest.mark.usefixtures("outside_kinds")
OPTIONS = {
    "conv-vae": {"latent", "channels"},
    "residual-vae": {"latent", "channels"},
    "column-vae": {"latent", "channels", "per_column"},
    "mdn-rnn": {"hidden", "mixtures", "joint", "reward_bins", "keep", "reward_units"},
    "autoregressive": {"hidden", "mixtures", "units", "reward_bins", "keep", "reward_units"},
    "grid-vae": {"latent", "channels", "per_cell"},
    "pooled-vae": {"latent", "cells"},
    "gaussian-gru": {"hidden"},
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
    (vision_kinds(), {"kind": "grid-vae", "latent": 128}, "latent is 128, expected more than the 64 * 2 latents"),
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


CHANNELS = (4, 4, 8, 8)
VISIONS: dict[str, VisionConfig] = {
    "conv-vae": ConvVAEConfig(4, CHANNELS),
    "residual-vae": ResidualVAEConfig(4, CHANNELS),
    "column-vae": ColumnVAEConfig(18, CHANNELS, 1),
    "grid-vae": GridVAEConfig(66, CHANNELS, 1),
    "pooled-vae": PooledVAEConfig(4),
}
MEMORIES: dict[str, MemoryConfig] = {
    "mdn-rnn": MDNRNNConfig(4, 1, 8, 3),
    "joint": MDNRNNConfig(4, 1, 8, 3, joint=True),
    "autoregressive": AutoregressiveConfig(4, 1, 8, 3, units=6, active=(2, 0, 3)),
    "gaussian-gru": GaussianGRUConfig(4, 1, 8),
}
EVERY_V = pytest.mark.parametrize("v", VISIONS)
VARIANTS: dict[str, MemoryConfig] = MEMORIES | {
    "mdn-rnn that keeps": MDNRNNConfig(4, 1, 8, 3, reward_bins=5, end_reward=True, keep=True),
    "joint that keeps": MDNRNNConfig(4, 1, 8, 3, joint=True, keep=True),
    "autoregressive that keeps": AutoregressiveConfig(4, 1, 8, 3, units=6, active=(2, 0, 3), reward_bins=5, keep=True),
}
EVERY_M = pytest.mark.parametrize("m", VARIANTS)


def random_world(v: str, m: str) -> WorldModel:
    """A random world of these kinds."""
    torch.manual_seed(0)
    config = WorldConfig(vision=VISIONS[v], memory=dataclasses.replace(MEMORIES[m], latent=VISIONS[v].latent))
    vision, memory = vision_kinds().build(config.vision), memory_kinds().build(config.memory)
    vision.prepare(torch.rand(9, 3, 64, 64))
    return WorldModel(config, vision, memory, *torch.randn(2, 9, config.vision.latent))


@pytest.mark.parametrize(("v", "m"), [*zip(VISIONS, ["joint", *MEMORIES], strict=True)])
def test_a_world_is_saved_opened_and_dreamt(tmp_path: Path, v: str, m: str) -> None:
    made = random_world(v, m)
    save_world(tmp_path / "world", made)
    world = load_world(tmp_path / "world")
    assert world.config == made.config
    assert type(world.vision) is type(made.vision) and type(world.memory) is type(made.memory)
    envs = gym.make_vec("WMDream-v0", num_envs=3, world=str(tmp_path / "world"), render_mode="rgb_array")
    first, _ = envs.reset(seed=0)
    assert first.shape == (3, world.observed_latents + 8) and len(envs.render()) == 3
    for _ in range(10):
        observations, *_ = envs.step(envs.action_space.sample())
        assert np.isfinite(observations).all() and observations in envs.observation_space
    assert np.array_equal(envs.reset(seed=0)[0], first)


def test_a_world_of_unknown_kinds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_world(tmp_path / "world", random_world("pooled-vae", "gaussian-gru"))
    monkeypatch.delitem(vision_kinds(), "pooled-vae")
    with pytest.raises(BrokenWorld, match="the kind is 'pooled-vae', expected one of"):
        load_world(tmp_path / "world")


@EVERY_M
@torch.no_grad()
def test_a_sequence_is_its_steps(m: str) -> None:
    torch.manual_seed(0)
    memory = memory_kinds().build(dataclasses.replace(VARIANTS[m], clock=2100, progress=True, reward=True))
    latents, actions, progress = torch.randn(7, 3, 4), torch.randn(7, 3, 1), torch.rand(7, 3)
    ticks = torch.arange(7)[:, None].expand(7, 3) * 4
    inputs = memory.assemble(latents, actions, ticks, progress=progress)
    torch.testing.assert_close(inputs[..., -2], (ticks / 2100).sqrt())
    outputs, last = memory(inputs, memory.initial_state(3))
    whole, recurrent = memory.split(outputs), memory.initial_state(3)
    for step in range(7):
        said, recurrent = memory.step(latents[step], actions[step], ticks[step], recurrent, progress[step])
        for part, expected in zip(said, whole, strict=True):
            if part is None:
                continue
            torch.testing.assert_close(part, expected[step], atol=1e-5, rtol=1e-4)
    for part, expected in zip(recurrent, last, strict=True):
        torch.testing.assert_close(part, expected, atol=1e-5, rtol=1e-4)


@EVERY_V
def test_every_v_learns_and_is_kept_in_its_checkpoint(tmp_path: Path, v: str) -> None:
    vision = random_world(v, "mdn-rnn").vision.requires_grad_(True)
    images = torch.rand(5, 3, 64, 64)
    vision.loss(images, *vision(images, torch.randn(5, vision.config.latent))).backward()
    keep(tmp_path, vision)
    again = read_vision(tmp_path / "checkpoint.safetensors")
    assert torch.equal(again.encode(images)[0], vision.encode(images)[0])


@EVERY_M
def test_every_m_learns_and_is_kept_in_its_checkpoint(tmp_path: Path, m: str) -> None:
    memory, ones = memory_kinds().build(VARIANTS[m]), torch.ones(6, 2)
    outputs, _ = memory(torch.randn(6, 2, memory.inputs), memory.initial_state(2))
    latents = torch.randn(6, 2, 4)
    memory.loss(memory.see_next(memory.split(outputs), latents), latents, 0 * ones, ones, ones)[2].backward()
    keep(tmp_path, memory)
    assert read_memory_config(str(tmp_path / "checkpoint.safetensors")) == memory.config


def keep(folder: Path, model: torch.nn.Module) -> None:
    """Every parameter has a gradient; the checkpoint after a step of Adam is read again."""
    assert all(p.grad is not None for p in model.parameters())
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.step()
    save_checkpoint(folder / "checkpoint.safetensors", model, optimizer, 1)
    assert load_checkpoint(folder / "checkpoint.safetensors", model, optimizer)[0] == 1
