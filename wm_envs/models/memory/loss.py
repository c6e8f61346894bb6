"""The loss of M."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wm_envs.models.memory.rewards import mean_reward, two_hot


def memory_loss(
    nll: Tensor, prediction: Any, terminated: Tensor, has_next: Tensor, valid: Tensor,
    termination_weight: float, rewards: Tensor | None = None, reward_weight: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(NLL, BCE, loss), all scalars, from the NLL per latent dimension, masks and rewards, (T, B) each.

    NLL is the mean over the steps that have a next latent (`has_next`), in nats. BCE is the weighted binary
    cross-entropy of the termination over the steps that belong to an episode (`valid`). The loss is their sum, plus
    the mean squared error of the reward, or its cross-entropy, times `reward_weight`, if M predicts it.
    """
    nll = (nll * has_next).sum() / has_next.sum().clamp_min(1)
    weight = torch.tensor(termination_weight, device=terminated.device)
    bce = F.binary_cross_entropy_with_logits(prediction.termination, terminated, pos_weight=weight, reduction="none")
    bce = (bce * valid).sum() / valid.sum().clamp_min(1)
    loss = nll + bce
    if rewards is not None and prediction.reward is not None:
        error = reward_error(prediction, terminated, rewards)
        loss = loss + reward_weight * (error * valid).sum() / valid.sum().clamp_min(1)
    return nll, bce, loss


def reward_error(prediction: Any, ends: Tensor, rewards: Tensor) -> Tensor:
    """The squared error (...) of the predicted rewards, or their cross-entropy where they are classes."""
    if not has_classes(prediction):
        return (reward_of_step(prediction, ends) - rewards).square()
    logits = prediction.reward.float()  # (..., R, C)
    logits = torch.where(ends[..., None] > 0, logits[..., -1, :], logits[..., 0, :])
    return -(two_hot(rewards, logits.shape[-1]) * logits.log_softmax(-1)).sum(-1)


def has_classes(prediction: Any) -> bool:
    """Whether the rewards are the logits of classes, (..., R, C), not means, (..., R)."""
    return bool(prediction.reward.ndim == prediction.termination.ndim + 2)


def reward_of_step(prediction: Any, ends: Tensor) -> Tensor:
    """The predicted reward (...) of a step, where `ends` (...) is whether, or how probably, it ends the episode."""
    rewards = mean_reward(prediction.reward) if has_classes(prediction) else prediction.reward
    going_on, ending = rewards[..., 0].float(), rewards[..., -1].float()
    return torch.lerp(going_on, ending, ends.float())
