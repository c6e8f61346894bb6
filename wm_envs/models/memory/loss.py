"""The loss of M."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def memory_loss(
    nll: Tensor, prediction: Any, terminated: Tensor, has_next: Tensor, valid: Tensor,
    termination_weight: float, rewards: Tensor | None = None, reward_weight: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(NLL, BCE, loss), all scalars, from the NLL per latent dimension, masks and rewards, (T, B) each.

    NLL is the mean over the steps that have a next latent (`has_next`), in nats. BCE is the weighted binary
    cross-entropy of the termination over the steps that belong to an episode (`valid`). The loss is their sum, plus
    the mean squared error of the reward, times `reward_weight`, if M predicts it.
    """
    nll = (nll * has_next).sum() / has_next.sum().clamp_min(1)
    weight = torch.tensor(termination_weight, device=terminated.device)
    bce = F.binary_cross_entropy_with_logits(prediction.termination, terminated, pos_weight=weight, reduction="none")
    bce = (bce * valid).sum() / valid.sum().clamp_min(1)
    loss = nll + bce
    if rewards is not None and prediction.reward is not None:
        squared = ((reward_of_step(prediction, terminated) - rewards).square() * valid).sum() / valid.sum().clamp_min(1)
        loss = loss + reward_weight * squared
    return nll, bce, loss


def reward_of_step(prediction: Any, ends: Tensor) -> Tensor:
    """The predicted reward (...) of a step, where `ends` (...) is whether, or how probably, it ends the episode."""
    going_on, ending = prediction.reward[..., 0].float(), prediction.reward[..., -1].float()
    return torch.lerp(going_on, ending, ends.float())
