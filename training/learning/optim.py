"""Shared by all training loops: seeded generators, the learning-rate schedule, checks for finite numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wm_envs.errors import Diverged


def generator(seed: int, step: int) -> torch.Generator:
    """The generator of one training step; a resumed run draws the same numbers."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)


def one_cycle(progress: float, peak: float, warm: float = 0.1, last: float = 0.01) -> float:
    """Learning rate at `progress` in [0, 1]: up in the first `warm`, then by cosine to `last` * peak."""
    if progress < warm:
        return peak * (0.04 + 0.96 * progress / warm)
    down = (progress - warm) / (1 - warm)
    return peak * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min(down, 1.0))))


def clip_gradients(model: nn.Module, limit: float) -> float:
    """Clip the gradient's norm in place and return it; raises `Diverged` when it is not finite."""
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), limit))
    if not math.isfinite(norm):
        raise Diverged(
            "gradient", norm, "a finite gradient", "resume from the last checkpoint with a lower --learning-rate"
        )
    return norm


def total_loss(value: Tensor) -> Tensor:
    """`value`, or `Diverged` when it is not finite."""
    if not bool(torch.isfinite(value)):
        raise Diverged("loss", float(value.detach()), "a finite loss", "lower --learning-rate and resume")
    return value
