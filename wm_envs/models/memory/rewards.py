"""Rewards as classes: the two-hot code of DreamerV3 (Hafner et al. 2023, "Critic learning").

A reward is the mean of two neighbouring bins, whose distances grow with their size (symexp). Cross-entropy learns rare
and large rewards without the large errors, and the blur, that the mean squared error has for them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

HIGHEST = 4.0  # symlog of the highest reward that has a bin: 54 units of M


def reward_values(bins: int, device: torch.device | None = None) -> Tensor:
    """The rewards (C,) of the bins, from the lowest to the highest."""
    at = (torch.arange(bins, device=device) - bins // 2) * (HIGHEST / (bins // 2))  # the middle one is exactly 0
    return at.sign() * at.abs().expm1()


def two_hot(rewards: Tensor, bins: int) -> Tensor:
    """Weights (..., C) of the bins, of which at most two neighbours are not 0 and whose mean is the reward."""
    values = reward_values(bins, rewards.device)
    rewards = rewards.clamp(values[0], values[-1])
    above = torch.searchsorted(values, rewards.contiguous()).clamp(1, bins - 1)
    low, high = values[above - 1], values[above]
    share = ((rewards - low) / (high - low))[..., None]  # of the upper bin
    return F.one_hot(above - 1, bins) * (1 - share) + F.one_hot(above, bins) * share


def mean_reward(logits: Tensor) -> Tensor:
    """The expected reward (...) of logits (..., C).

    Dreams pay this mean, and draw no class: a controller learns the same from it with less noise, and a draw that does
    not know the drawn latents would not fit what the dream shows.
    """
    return logits.float().softmax(-1) @ reward_values(logits.shape[-1], logits.device)
