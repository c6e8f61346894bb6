"""A small random world and a synthetic store, so that the suite needs neither a game nor training."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from wm_envs.controller import ControllerConfig
from wm_envs.memory import MDNRNN, MemoryConfig
from wm_envs.vision import ConvVAE, VisionConfig
from wm_envs.world_model import WorldConfig, WorldModel
from wm_envs.worlds import save_controller, save_world

ROOT = Path(__file__).parent.parent
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # windows of render_mode="human"
if os.environ.get("OMP_NUM_THREADS") == "1":
    torch.set_num_threads(1)

TINY = WorldConfig(vision=VisionConfig(4, (4, 4, 8, 8)), memory=MemoryConfig(latent=4, action=1, hidden=8, mixtures=3))
TINY_DRIVE = dataclasses.replace(
    TINY, task="carracing", memory=dataclasses.replace(TINY.memory, action=3, reward=True), frame_skip=8
)
TINY_CONTROLLER = ControllerConfig(4, 8, 1, "zh")


def tiny_model(end_bias: float = 0.0, config: WorldConfig = TINY) -> WorldModel:
    """A random world; episodes last some 11 steps, with a low `end_bias` for ever."""
    torch.manual_seed(1)
    vision, memory = ConvVAE(config.vision), MDNRNN(config.memory)
    with torch.no_grad():
        memory.head.weight.mul_(4)  # so that actions and latents make a difference
        memory.head.bias[3 * config.memory.mixtures * config.memory.latent] = end_bias
    latent = config.memory.latent
    return WorldModel(config, vision, memory, torch.randn(20, latent), torch.randn(20, latent) - 3)


def make_tiny_world(folder: Path, end_bias: float = 0.0) -> Path:
    """A bundle of a `tiny_model` with one controller."""
    save_world(folder, tiny_model(end_bias), {"note": "random"})
    parameters = torch.randn(TINY_CONTROLLER.parameters, generator=torch.Generator().manual_seed(2))
    save_controller(folder, "controller", TINY_CONTROLLER, parameters)
    return folder


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random world with a controller. Not to be changed."""
    return make_tiny_world(tmp_path_factory.mktemp("worlds") / "tiny")


@pytest.fixture(scope="session")
def immortal_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but M never says that an episode ends."""
    return make_tiny_world(tmp_path_factory.mktemp("worlds") / "immortal", end_bias=-60.0)


@pytest.fixture(scope="session")
def tiny_drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random world of CarRacing, without a controller. Not to be changed."""
    folder = tmp_path_factory.mktemp("worlds") / "drive"
    save_world(folder, tiny_model(config=TINY_DRIVE), {"note": "random"})
    return folder


@pytest.fixture
def own_world(tiny_world: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world that a test may damage."""
    return Path(shutil.copytree(tiny_world, tmp_path / "world"))


@pytest.fixture
def own_drive(tiny_drive: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world of CarRacing that a test may damage."""
    return Path(shutil.copytree(tiny_drive, tmp_path / "world"))


def fresh_process(code: str, timeout: float = 120, **environment: str) -> str:
    """What `code` prints in a new Python in the repository root."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, timeout=timeout,
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def synthetic_episodes(lengths: list[int], seed: int = 0, died: list[bool] | None = None) -> list:
    """Episodes of a bright square that moves over a dim ground as the action says."""
    from training.rollouts import Episode

    rng = np.random.default_rng(seed)
    episodes = []
    for number, length in enumerate(lengths):
        actions = rng.integers(-1, 2, (length, 1)).astype(np.float32)
        frames = np.full((length, 64, 64, 3), 40, np.uint8)
        frames += rng.integers(0, 4, frames.shape, np.uint8)
        at = (np.cumsum(actions[:, 0]).astype(int) * 2 + 28 + number) % 56
        for tick in range(length):
            frames[tick, 20:32, at[tick] : at[tick] + 8] = 220
        episodes.append(Episode(frames, actions, died[number] if died else number % 3 != 2))
    return episodes


def synthetic_store(run: Path, parts: int = 2, lengths: tuple[int, ...] = (37, 50, 13)) -> Path:
    """A store of `parts` parts of 100 ticks under `run`; returns `run`."""
    from training.rollouts import write_part

    for index in range(parts):
        write_part(run / "rollouts", index, synthetic_episodes(list(lengths), seed=index), {"task": "takecover"})
    return run


@pytest.fixture
def tiny_vision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages build V with few channels, and read frames in blocks of 64."""
    import training.memory
    import training.rollouts
    import training.vision

    def blocks(parts: list, seed: int, chunks: int = 4) -> training.rollouts.FrameBlocks:
        return training.rollouts.FrameBlocks(parts, seed, min(chunks, 4))

    monkeypatch.setattr(training.vision, "FrameBlocks", blocks)

    for module in (training.vision, training.memory):
        monkeypatch.setattr(module, "VisionConfig", lambda latent: VisionConfig(latent, TINY.vision.channels))


def with_memory(**changes: object) -> WorldConfig:
    """The tiny world's config with another M."""
    return dataclasses.replace(TINY, memory=dataclasses.replace(TINY.memory, **changes))  # type: ignore[arg-type]
