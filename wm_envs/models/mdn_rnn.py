"""M: the paper's MDN-RNN with heads for the end (and reward), its loss, and sampling (appendix A.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOG_STD_RANGE = (-8.0, 4.0)  # keeps exp() and squares finite at every temperature
LATENT_LIMIT = 32.0  # no latent is further out: keeps dreams finite, far beyond what V ever says
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

LSTMState = tuple[Tensor, Tensor]  # h and c, (B, H) each


@dataclass(frozen=True)
class MDNRNNConfig:
    """Sizes of M; the defaults are the paper's for Doom (1,678,785 parameters)."""

    latent: int = 64
    action: int = 1
    hidden: int = 512
    mixtures: int = 5
    joint: bool = False  # one component for all of z at once, instead of the paper's one a dimension
    restart: bool = True  # a flag that is 1 on the first step of an episode is fed with z and a
    reward: bool = False  # a head for the reward beside the one for the end
    termination_weight: float = 10.0  # the weight of ends in the loss; their logit is high by its logarithm


class Prediction(NamedTuple):
    """What M says of the next step: a mixture per latent dimension, the end, the reward."""

    logits: Tensor  # (..., K, Z) unnormalised log weights, (..., K, 1) when joint
    means: Tensor  # (..., K, Z)
    log_stds: Tensor  # (..., K, Z) to be clamped to LOG_STD_RANGE
    termination: Tensor  # (...) logit that the episode ends with this step
    reward: Tensor | None  # (...) reward of this step


class MDNRNN(nn.Module):
    """(z_t, a_t, restart_t) and (h, c) -> the distribution of z_{t+1}, and the new (h, c)."""

    def __init__(self, config: MDNRNNConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = config.latent + config.action + int(config.restart)
        self.lstm = nn.LSTM(self.inputs, config.hidden)
        self.components = config.mixtures * (1 if config.joint else config.latent)  # logits
        outputs = self.components + 2 * config.mixtures * config.latent + 1 + int(config.reward)
        self.head = nn.Linear(config.hidden, outputs)
        self.termination_output = outputs - 1 - int(config.reward)  # which output is the logit of the end

    def initial_state(self, batch: int) -> LSTMState:
        """Zeros, (B, H) each."""
        weight = self.head.weight
        zeros = torch.zeros(batch, self.config.hidden, device=weight.device)
        return zeros, zeros.clone()

    def assemble(self, latents: Tensor, actions: Tensor, restart: Tensor) -> Tensor:
        """Inputs (..., I) from latents (..., Z), actions (..., A) and restart flags (...)."""
        parts = [latents, actions]
        if self.config.restart:
            parts.append(restart[..., None].to(latents.dtype))
        return torch.cat(parts, dim=-1)

    def forward(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Inputs (T, B, I) -> raw outputs (T, B, O) (see `split`) and the state after them."""
        hidden, (h, c) = self.lstm(inputs, (state[0][None], state[1][None]))
        return self.head(hidden), (h[0], c[0])

    def split(self, outputs: Tensor) -> Prediction:
        """Raw outputs (..., O) as a `Prediction` (views)."""
        k, z = self.config.mixtures, self.config.latent
        sizes = self.components, k * z, k * z, 1, int(self.config.reward)
        logits, means, log_stds, termination, reward = outputs.split(sizes, dim=-1)
        logits, means, log_stds = (part.unflatten(-1, (k, -1)) for part in (logits, means, log_stds))
        shown = reward.squeeze(-1) if self.config.reward else None
        return Prediction(logits, means, log_stds, termination.squeeze(-1), shown)

    def termination_probability(self, logit: Tensor) -> Tensor:
        """Calibrated probability of the end: the loss weighs ends by `termination_weight`, this undoes it."""
        return torch.sigmoid(logit - math.log(self.config.termination_weight))


class _MixtureNLL(torch.autograd.Function):
    """-log p of a mixture with its gradient by hand: half the passes over memory of autograd's.

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
    """-log p(latents) of next latents (..., Z), which get no gradient: per dimension, (..., Z), or of
    all dimensions together, (..., 1), when joint."""
    log_stds = prediction.log_stds.clamp(*LOG_STD_RANGE)
    return _MixtureNLL.apply(prediction.logits, prediction.means, log_stds, latents)


def memory_loss(
    config: MDNRNNConfig, prediction: Prediction, latents: Tensor, terminated: Tensor, has_next: Tensor,
    valid: Tensor, rewards: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Mean NLL a dimension over steps that go on, weighted BCE of the end over valid steps, and their sum.

    All of (T, B) but latents (T, B, Z). `has_next` marks steps whose next latent exists, `valid`
    those that belong to an episode at all.
    """
    nll = mixture_nll(prediction, latents).sum(-1) / latents.shape[-1]  # (T, B)
    nll = (nll * has_next).sum() / has_next.sum().clamp_min(1)
    weight = torch.tensor(config.termination_weight, device=terminated.device)
    bce = F.binary_cross_entropy_with_logits(prediction.termination, terminated, pos_weight=weight, reduction="none")
    bce = (bce * valid).sum() / valid.sum().clamp_min(1)
    loss = nll + bce
    if rewards is not None and prediction.reward is not None:
        loss = loss + ((prediction.reward - rewards).square() * valid).sum() / valid.sum().clamp_min(1)
    return nll, bce, loss


def sample_latents(prediction: Prediction, temperature: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    """Draw next latents (B, Z): a component PER dimension at logits / tau, then std * sqrt(tau).

    `temperature` is (B, 1); `uniform` (B, Z) in [0, 1) picks the component by its cumulative
    weights (a joint one by the first of them), `normal` (B, Z) is standard normal. World Models,
    section 4 and the authors' code.
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
