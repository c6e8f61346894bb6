"""Small random worlds, a synthetic store and other helpers, so that the suite needs neither a game nor training."""

import dataclasses
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from wm_envs.envs.dream import DreamVectorEnv
from wm_envs.files import unseal, write_json
from wm_envs.models.controller import ControllerConfig
from wm_envs.models.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wm_envs.models.vision.conv_vae import ConvVAE, ConvVAEConfig
from wm_envs.models.world_model import WorldConfig, WorldModel
from wm_envs.worlds.bundle import save_controller, save_world

ROOT = Path(__file__).parent.parent
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # windows of render_mode="human"
if "PYTEST_XDIST_WORKER" in os.environ:  # the tests' own processes share the cores: one thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if os.environ.get("OMP_NUM_THREADS") == "1":
    torch.set_num_threads(1)

TINY = WorldConfig(vision=ConvVAEConfig(4, (4, 4, 8, 8)), memory=MDNRNNConfig(latent=4, action=1, hidden=8, mixtures=3))
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
        memory.head.bias[memory.termination_output] = end_bias
    latent = config.memory.latent
    return WorldModel(config, vision, memory, torch.randn(20, latent), torch.randn(20, latent) - 3)


def make_tiny_world(folder: Path, end_bias: float = 0.0) -> Path:
    """A bundle of a `tiny_model` with one controller."""
    save_world(folder, tiny_model(end_bias), {"note": "random"})
    parameters = torch.randn(TINY_CONTROLLER.parameters, generator=torch.Generator().manual_seed(2))
    save_controller(folder, "controller", TINY_CONTROLLER, parameters)
    return folder


def fresh_process(code: str, timeout: float = 120, **environment: str) -> str:
    """What `code` prints in a new Python in the repository root."""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, timeout=timeout,
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def record(path: Path, config: Any) -> None:
    """Begin, or go on, with these options."""
    from training.config.records import recorded

    with recorded(path, config):
        pass


def last_json(capsys: pytest.CaptureFixture[str]) -> Any:
    """The result that a command with --json printed."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def one_line_error(main: Callable[[list[str]], int], words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line that a command with a mistake ends with; it tells the way out."""
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and "Fix" in error
    return error


def wait_for(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Look until there is a true value, and return it."""
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, "timeout"
        time.sleep(0.05)
    return found


def synthetic_episodes(lengths: list[int], seed: int = 0, terminated: list[bool] | None = None) -> list:
    """Episodes of a bright square that moves over a dim ground as the action says."""
    from training.data.episode_store import Episode

    rng = np.random.default_rng(seed)
    episodes = []
    for number, length in enumerate(lengths):
        actions = rng.integers(-1, 2, (length, 1)).astype(np.float32)
        frames = np.full((length, 64, 64, 3), 40, np.uint8)
        frames += rng.integers(0, 4, frames.shape, np.uint8)
        at = (np.cumsum(actions[:, 0]).astype(int) * 2 + 28 + number) % 56
        for tick in range(length):
            frames[tick, 20:32, at[tick] : at[tick] + 8] = 220
        episodes.append(Episode(frames, actions, terminated[number] if terminated else number % 3 != 2))
    return episodes


def synthetic_store(run: Path, parts: int = 2, lengths: tuple[int, ...] = (37, 50, 13)) -> Path:
    """A store of `parts` parts of 100 ticks under `run`; returns `run`."""
    from training.data.episode_store import write_part

    for index in range(parts):
        write_part(run / "rollouts", index, synthetic_episodes(list(lengths), seed=index), {"task": "takecover"})
    return run


def with_memory(**changes: object) -> WorldConfig:
    """The tiny world's config with another M."""
    return dataclasses.replace(TINY, memory=dataclasses.replace(TINY.memory, **changes))  # type: ignore[arg-type]


def vision_options(run: Path, **changes: Any) -> Any:
    """A few batches of V with `tiny_vision`."""
    from training.stages import vision

    sizes = {"latent": 4, "channels": (4, 4, 8, 8), "batches": 6, "batch_size": 16, "checkpoint_every": 3}
    sizes |= {"per_column": 1} if changes.get("kind") == "column-vae" else {}
    return vision.Command.flat(run=run, **sizes | changes)


def memory_options(run: Path, **changes: Any) -> Any:
    """A few steps of a small M."""
    from training.stages import memory

    sizes = dict(hidden=8, mixtures=3, batch_size=4, sequence_length=8, steps=6 * 4 * 8, checkpoint_every=3, workers=1)
    return memory.Command.flat(run=run, **sizes | changes)


def evolve_options(run: Path, **changes: Any) -> Any:
    """A few generations of a small population."""
    from training.stages import evolve

    sizes = {"generations": 4, "population": 4, "rollouts": 2, "validate_every": 2, "validate_episodes": 0}
    return evolve.Command.flat(run=run, **sizes | changes)


def ppo_options(run: Path, **changes: Any) -> Any:
    """Four updates of a small policy in dreams, judged at every second one."""
    from training.stages import ppo

    sizes = dict(total_timesteps=512, num_envs=8, n_steps=16, batch_size=64, n_epochs=2, hidden_sizes=(5,))
    return ppo.Command.flat(run=run, **sizes | {"validate_every": 2, "validate_episodes": 0} | changes)


def save_vision(run: Path) -> None:
    """A random V of the first round, as `vision` keeps it."""
    from training.infra.checkpoint import save_checkpoint

    torch.manual_seed(5)
    model = ConvVAE(TINY.vision)
    save_checkpoint(run / "round-0/vision.safetensors", model, torch.optim.Adam(model.parameters()), 1)


def steps_of(env: DreamVectorEnv, steps: int) -> Any:
    """Steps with random actions: (observations, rewards, done, infos) of each, and the observations before it."""
    env.action_space.seed(0)
    before, _ = env.reset(seed=2)
    for _ in range(steps):
        observations, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
        yield before, observations, rewards, terminated | truncated, infos
        before = observations


def make_world(folder: Path, end_bias: float = -60.0, controller: bool = True) -> str:
    """A random world whose dreams never end, or (end_bias=60) end at once; its controller always goes right."""
    save_world(folder, tiny_model(end_bias))
    if controller:
        parameters = torch.zeros(TINY_CONTROLLER.parameters)
        parameters[-1] = 3.0
        save_controller(folder, "right", TINY_CONTROLLER, parameters)
    return str(folder)


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a bundle's config.json holds, and correct its checksum."""
    bundle = unseal(json.loads((folder / "config.json").read_text()))
    change(bundle)
    write_json(folder / "config.json", bundle)


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Another file of a bundle, its size and its hash put right."""
    (folder / name).write_bytes(data)
    fingerprint = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    change_config(folder, lambda bundle: bundle["files"].update({name: fingerprint}))


def load_script(path: str) -> ModuleType:
    """A file that lies in no package, as a module."""
    spec = importlib.util.spec_from_file_location(f"script_{Path(path).stem}", ROOT / path)
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def held(seed: int, steps: int) -> np.ndarray:
    """Random actions (T, 3), each held for a while, mostly on the gas: spins, skids, grass."""
    rng = np.random.default_rng(seed)
    blocks = rng.uniform((-1, 0, -2), (1, 1, 1), (steps, 3)).clip((-1, 0, 0), 1)
    return np.repeat(blocks, rng.integers(1, 40, steps), axis=0)[:steps].astype(np.float32)
