"""Mixtures of Gaussians: M's prediction of the next latents, its likelihood, and draws from it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wm_envs.models.state import LATENT_LIMIT

LOG_STD_RANGE = (-8.0, 4.0)  # keeps exp() and squares finite at every temperature
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Prediction(NamedTuple):
    """M's prediction for the next step: a mixture per latent dimension, the termination, the reward."""

    logits: Tensor  # (..., K, Z) unnormalised log weights, (..., K, 1) when joint
    means: Tensor  # (..., K, Z)
    log_stds: Tensor  # (..., K, Z) not yet clamped to LOG_STD_RANGE
    termination: Tensor  # (...) logit that the episode ends with this step
    # (..., R) reward of this step if the episode goes on and, with R = 2, if it ends; (..., R, C): logits of classes
    reward: Tensor | None
    units: Tensor | None = None  # (..., U) what h adds to the units with which the reward sees the next latents


class _MixtureNLL(torch.autograd.Function):
    """-log p of a mixture with a hand-written gradient, which reads and writes memory half as often as autograd.

    With responsibilities r = softmax(log w - log s - n^2/2) and n = (z - m)/s, the gradients are
    w - r (logits), -r n / s (means) and r (1 - n^2) (log stds).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, means: Tensor, log_stds: Tensor, latents: Tensor) -> Tensor:
        inverse = torch.exp(-log_stds)
        normalised = (latents.unsqueeze(-2) - means).mul_(inverse)
        log_weights = F.log_softmax(logits, dim=-2)
        joint = normalised.square().mul_(-0.5).sub_(log_stds)  # (..., K, Z)
        if logits.shape[-1] == 1:  # one component for all dimensions
            joint = joint.sum(dim=-1, keepdim=True)
        joint = joint.add_(log_weights)
        log_density = torch.logsumexp(joint, dim=-2, keepdim=True)
        responsibility = joint.sub_(log_density).exp_()
        ctx.save_for_backward(responsibility, log_weights, normalised, inverse)
        constant = _HALF_LOG_2PI * (means.shape[-1] // logits.shape[-1])
        return constant - log_density.squeeze(-2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        responsibility, log_weights, normalised, inverse = ctx.saved_tensors
        grad = grad.unsqueeze(-2)
        weighted = responsibility * grad
        logits = log_weights.exp().mul_(grad).sub_(weighted)
        means = weighted * normalised
        log_stds = weighted.addcmul(means, normalised, value=-1.0)
        return logits, means.mul_(inverse).neg_(), log_stds, None


def mixture_nll(prediction: Prediction, latents: Tensor) -> Tensor:
    """-log p(latents) in nats of next latents (..., Z): (..., Z), one per dimension, or (..., 1) when joint.

    `latents` get no gradient.
    """
    log_stds = prediction.log_stds.clamp(*LOG_STD_RANGE)
    return _MixtureNLL.apply(prediction.logits, prediction.means, log_stds, latents)


def sample_latents(prediction: Prediction, temperature: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    """Draw next latents (B, Z) at temperature tau (World Models, section 4, and the authors' code).

    Each dimension draws its own component with logits / tau, then a normal value with std * sqrt(tau). `temperature`
    is (B, 1) or (1, 1). `uniform` (B, Z) in [0, 1) picks the component by cumulative weight (a joint mixture uses only
    its first column). `normal` (B, Z) is standard normal.
    """
    logits = prediction.logits.float()
    top = logits.amax(dim=-2, keepdim=True)
    cumulative = torch.exp((logits - top) / temperature[..., None]).cumsum(dim=-2)  # (B, K, Z) or (B, K, 1)
    threshold = (uniform[..., : logits.shape[-1]] * cumulative[..., -1, :]).unsqueeze(-2)
    chosen = (cumulative[..., :-1, :] <= threshold).sum(dim=-2, keepdim=True)  # (B, 1, Z) or (B, 1, 1)
    chosen = chosen.expand(*chosen.shape[:-1], prediction.means.shape[-1])
    mean = prediction.means.gather(-2, chosen).squeeze(-2).float()
    log_std = prediction.log_stds.gather(-2, chosen).squeeze(-2).float().clamp_(*LOG_STD_RANGE)
    std = log_std.exp_().mul_(temperature.sqrt())
    return torch.addcmul(mean, std, normal).clamp_(-LATENT_LIMIT, LATENT_LIMIT)


def mask_components(logits: Tensor, masked: tuple[int, ...]) -> Tensor:
    """Logits (B, K, ...) with those of the `masked` components at minus infinity."""
    if not masked:
        return logits
    return logits.index_fill(1, torch.tensor(masked, device=logits.device), -math.inf)
