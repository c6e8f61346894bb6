"""float32 or bfloat16 on this CPU: `python benchmarks/number_types.py [--json]`.

Training of M and of V, encoding, and 1,024 dreams, in both number types in turn. A ratio above 1 says that bfloat16 is
faster; `wm_envs.hardware.fast_bfloat16` should agree.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import torch

import wm_envs  # noqa: F401 (registers the ids)
from training.data.latent_cache import encode_frames
from training.data.sequences import SequenceBatch
from training.judging.memory_metrics import losses, predict
from wm_envs import hardware
from wm_envs.models.vision.conv_vae import ConvVAE
from wm_envs.models.vision.loss import vae_loss
from wm_envs.worlds.bundle import load_world


def fast_order(vision: ConvVAE) -> ConvVAE:
    """V in the memory order that training uses on the CPU."""
    order: Any = {"memory_format": torch.channels_last}
    return vision.to(**order)


def train_memory() -> Callable[[], Any]:
    """Forward and backward through a window of 48 steps of 256 sequences."""
    memory = load_world("takecover").memory.requires_grad_()
    latents, zeros, ones = torch.randn(49, 256, memory.config.latent), torch.zeros(48, 256), torch.ones(48, 256)
    window = SequenceBatch(latents[:-1], torch.randn(48, 256, 1), zeros, zeros, latents[1:], ones, zeros)

    def step() -> None:
        prediction, _ = predict(memory, window, memory.initial_state(256))
        losses(memory, prediction, window)[2].backward()

    return step


def train_vision() -> Callable[[], Any]:
    """Forward and backward of a batch of 128 frames."""
    vision = fast_order(load_world("takecover").vision).requires_grad_()
    images, noise = torch.rand(128, 3, 64, 64), torch.randn(128, vision.config.latent)

    def step() -> None:
        with hardware.autocast(torch.device("cpu")):
            reconstruction, mean, logvar = vision(images, noise)
        vae_loss(images, reconstruction, mean, logvar).backward()

    return step


def encode() -> Callable[[], Any]:
    """V's latents of 1,024 frames."""
    vision = fast_order(load_world("takecover").vision)
    frames = np.random.default_rng(0).integers(0, 256, (1024, 64, 64, 3), np.uint8)
    return lambda: encode_frames(vision, frames)


def dream() -> Callable[[], Any]:
    """One step of 1,024 dreams."""
    envs = gym.make_vec("WMDream-v0", num_envs=1024)
    envs.reset(seed=0)
    actions = envs.action_space.sample()
    return lambda: envs.step(actions)


def seconds(step: Callable[[], Any], low_precision: bool, at_least: float) -> float:
    """Seconds of one call of `step`."""
    with mock.patch.object(hardware, "fast_bfloat16", return_value=low_precision):
        step()
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < at_least:
            step()
            count += 1
        return (time.perf_counter() - start) / count


def main() -> None:
    """Print a table, or one line of JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of every measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {"bfloat16_is_used": hardware.fast_bfloat16()}
    for make in (train_memory, train_vision, encode, dream):
        step = make()
        rounds = [[seconds(step, low, options.seconds) for low in (False, True)] for _ in range(options.rounds)]
        plain, low = (statistics.median(column) for column in zip(*rounds, strict=True))
        found[make.__name__] = {"float32_ms": 1e3 * plain, "bfloat16_ms": 1e3 * low, "ratio": plain / low}
    if options.json:
        print(json.dumps(found))
        return
    print("bfloat16 is", "used" if found.pop("bfloat16_is_used") else "not used", "on this CPU")
    for name, row in found.items():
        times = f"float32 {row['float32_ms']:8.1f} ms  bfloat16 {row['bfloat16_ms']:8.1f} ms"
        print(f"{name:>14}  {times}  x{row['ratio']:.2f}")


if __name__ == "__main__":
    main()
