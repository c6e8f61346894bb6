"""M: the paper's MDN-RNN (appendix A.2) with heads for termination and reward, its loss, and sampling."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wm_envs.hardware import compute_dtype
from wm_envs.models.state import Noise, Recurrent

LOG_STD_RANGE = (-8.0, 4.0)  # keeps exp() and squares finite at every temperature
LATENT_LIMIT = 32.0  # latents are clipped to +-32, which keeps dreams finite; V's latents are about standard normal
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

LOW_PRECISION_FROM = 8  # batch size from which bfloat16 products are faster than float32 ones


@dataclass(frozen=True)
class MDNRNNConfig:
    """Sizes of the MDN-RNN; the defaults are the paper's for Doom (1,678,785 parameters)."""

    latent: int = 64  # Z
    action: int = 1  # A
    hidden: int = 512  # H
    mixtures: int = 5  # K
    joint: bool = False  # True: one mixture over all of z; False: one per dimension, as in the paper
    restart: bool = True  # True: a further input is 1 on the first step of an episode, else 0
    clock: int = 0  # ticks; > 0: a further input is sqrt(ticks since the start / clock), at most 1
    progress: bool = False  # True: a further input is sqrt(1 - State.progress), what is left to the goal
    reward: bool = False  # True: a further head predicts the reward
    end_reward: bool = False  # True: one more predicts that of a step that ends the episode, which is often another
    termination_weight: float = 10.0  # loss weight of terminations; raises their logit by log(weight)
    kind: str = "mdn-rnn"


class Prediction(NamedTuple):
    """M's prediction for the next step: a mixture per latent dimension, the termination, the reward."""

    logits: Tensor  # (..., K, Z) unnormalised log weights, (..., K, 1) when joint
    means: Tensor  # (..., K, Z)
    log_stds: Tensor  # (..., K, Z) not yet clamped to LOG_STD_RANGE
    termination: Tensor  # (...) logit that the episode ends with this step
    reward: Tensor | None  # (..., R) reward of this step if the episode goes on and, with R = 2, if it ends


def reward_of_step(prediction: Any, ends: Tensor) -> Tensor:
    """The predicted reward (...) of a step, where `ends` (...) is whether, or how probably, it ends the episode."""
    going_on, ending = prediction.reward[..., 0].float(), prediction.reward[..., -1].float()
    return torch.lerp(going_on, ending, ends.float())


class MDNRNN(nn.Module):
    """M: (z_t, a_t, restart_t) and its recurrent state -> the distribution of z_{t+1}, and the new recurrent state.

    The recurrent state is the LSTM's (h, c). Other code treats it as opaque and uses only the names and shapes in
    `recurrent_shapes`, so that another kind of M can replace this one. The same holds for predictions: other code reads
    only their `termination` and `reward`, and gives them back to `nll` and `sample`.
    """

    def __init__(self, config: MDNRNNConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = len(self.modelled) + config.action + config.restart + (config.clock > 0) + config.progress
        self.lstm = nn.LSTM(self.inputs, config.hidden)
        self.rewards = config.reward * (1 + config.end_reward)  # R, outputs for the reward
        self.termination_output = self._latent_outputs()  # index of the termination logit
        self.head = nn.Linear(config.hidden, self.termination_output + 1 + self.rewards)
        self.silent: list[int] = []  # components of the mixtures that `sample` does not draw
        self._step = _PackedStep()

    def _latent_outputs(self) -> int:
        """Number of the head's outputs that describe the next latents; termination and reward follow them."""
        self.components = self.config.mixtures * (1 if self.config.joint else self.config.latent)  # logits
        return self.components + 2 * self.config.mixtures * self.config.latent

    @property
    def modelled(self) -> list[int]:
        """The latent dimensions that M sees and predicts: all of them."""
        return list(range(self.config.latent))

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.head.weight.device

    def share(self) -> MDNRNN:
        """This M once more, for another environment: the same weights, but buffers of its own for `step`."""
        other = copy.copy(self)
        other._step = _PackedStep(self._step.weights)
        return other

    # --- the recurrent state ------------------------------------------------------------------------

    @property
    def recurrent_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape (without the batch axis) of each part of the recurrent state."""
        return {"hidden": (self.config.hidden,), "cell": (self.config.hidden,)}

    def initial_state(self, batch: int) -> Recurrent:
        """The recurrent state before the first step of an episode: zeros."""
        return tuple(torch.zeros(batch, *shape, device=self.device) for shape in self.recurrent_shapes.values())

    def features(self, recurrent: Recurrent) -> dict[str, Tensor]:
        """The parts of the recurrent state that a controller can observe: "h" and "c", (B, H) each."""
        hidden, cell = recurrent
        return {"h": hidden, "c": cell}

    # --- whole sequences, for training --------------------------------------------------------------

    def assemble(
        self, latents: Tensor, actions: Tensor, ticks: Tensor, restart: Tensor | None = None,
        progress: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Inputs (..., I) from latents (..., Z), actions (..., A) and the ticks (...) since the start of the episode.

        `restart` (...) is 1 on the first step of a sequence; by default where `ticks` is 0. `progress` (...) is by
        default 0.
        """
        parts = [self._seen(latents), actions, *self._of_time(ticks, restart, progress)]
        return torch.cat([part.to(latents.dtype) for part in parts], dim=-1)

    def _of_time(self, ticks: Tensor, restart: Tensor | None = None, progress: Tensor | None = None) -> list[Tensor]:
        """The inputs that depend on time and progress, (..., 1) each."""
        parts = []
        if self.config.restart:
            parts.append((ticks == 0 if restart is None else restart)[..., None])
        if self.config.clock:
            parts.append((ticks[..., None] / self.config.clock).clamp(max=1.0).sqrt())
        if self.config.progress:
            left = 1 - (torch.zeros_like(ticks, dtype=torch.float32) if progress is None else progress)
            parts.append(left[..., None].clamp(0, 1).sqrt())  # the root is steep near the goal
        return parts

    def _seen(self, latents: Tensor) -> Tensor:
        """The modelled dimensions of latents (..., Z)."""
        return latents

    def forward(self, inputs: Tensor, recurrent: Recurrent) -> tuple[Tensor, Recurrent]:
        """Inputs (T, B, I) -> raw outputs (T, B, O), see `split`, and the recurrent state after the last step."""
        hidden, (h, c) = self.lstm(inputs, (recurrent[0][None], recurrent[1][None]))
        return self.head(hidden), (h[0], c[0])

    def split(self, outputs: Tensor) -> Any:
        """Raw outputs (..., O) as a `Prediction` (views)."""
        k, z = self.config.mixtures, self.config.latent
        sizes = self.components, k * z, k * z, 1, self.rewards
        logits, means, log_stds, termination, reward = outputs.split(sizes, dim=-1)
        logits, means, log_stds = (part.unflatten(-1, (k, -1)) for part in (logits, means, log_stds))
        return Prediction(logits, means, log_stds, termination.squeeze(-1), reward if self.rewards else None)

    def nll(self, prediction: Any, latents: Tensor) -> Tensor:
        """-log p in nats of the modelled dimensions of next latents (..., Z); see `mixture_nll`."""
        return mixture_nll(prediction, latents)

    def weights(self, prediction: Any, latents: Tensor) -> Tensor:
        """Mixture weights (..., K, N) of each modelled dimension, or (..., K, 1) when joint, in [0, 1].

        `latents` (..., Z) are the next ones; only a kind of M that draws one after the other needs them.
        """
        found: Tensor = prediction.logits.float().softmax(dim=-2)
        return found

    # --- one step, for dreams -----------------------------------------------------------------------

    def step(
        self, latents: Tensor, action: Tensor, ticks: Tensor, recurrent: Recurrent, progress: Tensor | None = None
    ) -> tuple[Any, Recurrent]:
        """One step without gradients, from latents (B, Z), action (B, A), the ticks and the progress (B,) so far, and
        the recurrent state.

        Returns the prediction and the new recurrent state. The prediction is a view of a buffer that the next call
        overwrites.
        """
        return self._step(self, latents, action, self._of_time(ticks, progress=progress), recurrent)

    def sample(self, prediction: Any, temperature: Tensor, noise: Noise) -> Tensor:
        """Draw next latents (B, Z) at `temperature` (B, 1) or (1, 1); see `sample_latents`."""
        heard = prediction._replace(logits=self._heard(prediction.logits))
        return sample_latents(heard, temperature, noise.uniform, noise.normal)

    def _heard(self, logits: Tensor) -> Tensor:
        """Logits (B, K, ...) without the silent components."""
        if not self.silent:
            return logits
        return logits.index_fill(1, torch.tensor(self.silent, device=logits.device), -math.inf)

    def termination_probability(self, logit: Tensor) -> Tensor:
        """Calibrated probability of termination, from its logit; this undoes the `termination_weight` of the loss."""
        return torch.sigmoid(logit - math.log(self.config.termination_weight))


class _PackedStep:
    """One step of one `MDNRNN` on packed weights, in buffers that are reused between steps.

    The result equals `MDNRNN.forward` on one step, up to rounding. It is several times faster: one matrix product for
    all gates, no autograd, and no new memory, whose page faults cost more than the arithmetic. Several steps may use
    the same `weights`, also in several threads.
    """

    def __init__(self, weights: _PackedWeights | None = None) -> None:
        self.weights = weights or _PackedWeights()
        self._buffers: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    @torch.no_grad()
    def __call__(
        self, memory: MDNRNN, latents: Tensor, action: Tensor, of_time: list[Tensor], recurrent: Recurrent
    ) -> tuple[Any, Recurrent]:
        config, batch = memory.config, len(latents)
        dtype = compute_dtype(memory.device) if batch >= LOW_PRECISION_FROM else torch.float32
        weight, bias, head, head_bias = self.weights(memory, dtype)
        inputs, products, gates, outputs = self._workspace(memory, batch, dtype)
        hidden, cell = recurrent
        at = len(memory.modelled)
        inputs[:, :at] = memory._seen(latents)
        inputs[:, at : at + config.action] = action
        for i, part in enumerate(of_time):
            inputs[:, at + config.action + i] = part[:, 0]
        inputs[:, memory.inputs :] = hidden
        torch.addmm(bias, inputs, weight, out=products)
        if dtype != torch.float32:
            gates.copy_(products)
        enter, forget, leave, candidate = gates.sigmoid_().split(config.hidden, dim=1)  # i, f, o, g: (B, H) each
        cell = cell * forget
        cell.addcmul_(enter, candidate, value=2).sub_(enter)  # + i * tanh(g), as tanh(x) = 2 sigmoid(2x) - 1
        hidden = (cell * 2).sigmoid_().mul_(2).sub_(1).mul_(leave)  # o * tanh(c)
        torch.addmm(head_bias, hidden.to(dtype), head, out=outputs)
        return memory.split(outputs), (hidden, cell)

    def _workspace(self, memory: MDNRNN, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Buffers for inputs, products, gates and outputs of a batch; only those of the last batch size are kept."""
        if (batch, dtype) not in self._buffers:
            hidden = memory.config.hidden
            widths = memory.inputs + hidden, 4 * hidden, memory.head.out_features
            inputs, products, outputs = (torch.empty(batch, n, dtype=dtype, device=memory.device) for n in widths)
            self._buffers = {(batch, dtype): (inputs, products, products.float(), outputs)}
        return self._buffers[batch, dtype]


class _PackedWeights:
    """The weights of one step of an `MDNRNN`, packed for each number type when it is first asked for."""

    def __init__(self) -> None:
        self._packed: tuple[tuple[int, ...], dict[torch.dtype, tuple[Tensor, Tensor, Tensor, Tensor]]] = (), {}

    def __call__(self, memory: MDNRNN, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gates' weights (I + H, 4H) in the order i, f, o, g, their bias (4H,), and the head's weights and bias.


        They are packed again when the weights have changed. The weights of g are doubled for
        tanh(x) = 2 sigmoid(2x) - 1, because PyTorch's sigmoid is several times faster than its tanh.
        """
        parameters = (*memory.lstm.all_weights[0], memory.head.weight, memory.head.bias)
        version = tuple(number for value in parameters for number in (value.data_ptr(), value._version))
        found = self._packed
        if found[0] != version:
            found = self._packed = version, {}
        if dtype not in found[1]:
            weight_ih, weight_hh, bias_ih, bias_hh = memory.lstm.all_weights[0]
            weight, bias = torch.cat([weight_ih, weight_hh], dim=1), bias_ih + bias_hh
            enter, forget, candidate, leave = range(4)  # PyTorch's order is i, f, g, o
            order = [enter, forget, leave, candidate]
            weight = weight.unflatten(0, (4, -1))[order].flatten(0, 1)
            bias = bias.unflatten(0, (4, -1))[order].flatten()
            for part in (weight, bias):
                part[3 * memory.config.hidden :] *= 2
            parts = weight.t(), bias, memory.head.weight.t(), memory.head.bias
            found[1][dtype] = tuple(part.detach().to(dtype).contiguous() for part in parts)  # type: ignore[assignment]
        return found[1][dtype]


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


def memory_loss(
    memory: MDNRNN, prediction: Any, latents: Tensor, terminated: Tensor, has_next: Tensor,
    valid: Tensor, rewards: Tensor | None = None, reward_weight: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(NLL, BCE, loss), all scalars, from next latents (T, B, Z) and masks and rewards (T, B).

    NLL is the mean per latent dimension over the steps that have a next latent (`has_next`), in nats. BCE is the
    weighted binary cross-entropy of the termination over the steps that belong to an episode (`valid`). The loss is
    their sum, plus the mean squared error of the reward, times `reward_weight`, if M predicts it.
    """
    nll = memory.nll(prediction, latents).sum(-1) / len(memory.modelled)  # (T, B)
    nll = (nll * has_next).sum() / has_next.sum().clamp_min(1)
    weight = torch.tensor(memory.config.termination_weight, device=terminated.device)
    bce = F.binary_cross_entropy_with_logits(prediction.termination, terminated, pos_weight=weight, reduction="none")
    bce = (bce * valid).sum() / valid.sum().clamp_min(1)
    loss = nll + bce
    if rewards is not None and prediction.reward is not None:
        squared = ((reward_of_step(prediction, terminated) - rewards).square() * valid).sum() / valid.sum().clamp_min(1)
        loss = loss + reward_weight * squared
    return nll, bce, loss


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
