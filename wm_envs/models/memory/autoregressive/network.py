"""M with a head that draws the latents one after the other, each given those drawn before it.

The paper's head draws every latent dimension independently of the others (appendix A.2). What several dimensions encode
together, such as a fireball, is then often drawn half and fades. Here the joint distribution is exact: p(z) is the
product of p(z_i | z_1 .. z_{i-1}, h), each a mixture of K Gaussians.

V uses few of its latent dimensions; the others hold nothing but its prior noise. Only the `active` ones are modelled,
most informative first; the rest is drawn from the prior, N(0, 1), and is no input of M.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wm_envs.models.memory.autoregressive.config import AutoregressiveConfig
from wm_envs.models.memory.lstm import LSTMMemory
from wm_envs.models.memory.mixture import LOG_STD_RANGE, Prediction, mask_components, mixture_nll, sample_latents
from wm_envs.models.state import LATENT_LIMIT, Noise


class AutoregressivePrediction(NamedTuple):
    """What M predicts of the next step, before any latent is drawn. N: modelled dimensions."""

    context: Tensor  # (..., N * U) what h adds to the units of every dimension
    termination: Tensor  # (...) logit that the episode ends with this step
    reward: Tensor | None  # see `Prediction.reward`
    units: Tensor | None  # see `Prediction.units`
    kept: Tensor | None  # (..., N) what the means have of the last latents


class AutoregressiveMDNRNN(LSTMMemory):
    """The MDN-RNN of the paper with an autoregressive head over its active latent dimensions.

    Dimension i has U ReLU units that see h and the latents drawn before it, and a linear map to K mixture weights,
    means and log standard deviations. Training knows all latents, so it is one pass with masked weights; drawing is
    sequential.
    """

    config: AutoregressiveConfig

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__(config)
        n, units, width = len(self.modelled), config.units, 3 * config.mixtures
        # Not `randn(...) / ...`: arithmetic on the meta device, where bundles build M, imports PyTorch's compiler.
        self.earlier = nn.Parameter(torch.normal(0.0, (units * n) ** -0.5, (n, units, n)))  # latents -> units
        self.mixture = nn.Parameter(torch.normal(0.0, units**-0.5, (n, units, width)))  # (N, U, 3K): units -> mixture
        self.mixture_bias = nn.Parameter(torch.zeros(n, width))  # (N, 3K)
        self._columns: dict[torch.device, Tensor] = {}  # `modelled` as an index, by device
        self._arrays: tuple[tuple[int, ...], list[Any]] = (), []  # see `_weights_as_arrays`

    @property
    def latent_outputs(self) -> int:
        """See `LSTMMemory.latent_outputs`."""
        return len(self.modelled) * self.config.units

    @property
    def modelled(self) -> list[int]:
        """The latent dimensions that M sees and predicts, in the order they are drawn."""
        return list(self.config.active or range(self.config.latent))

    def _index(self, device: torch.device) -> Tensor:
        if device not in self._columns:
            self._columns[device] = torch.tensor(self.modelled, device=device)
        return self._columns[device]

    def select_modelled(self, latents: Tensor) -> Tensor:
        """See `Memory.select_modelled`."""
        return latents[..., self._index(latents.device)]

    def split(self, outputs: Tensor) -> AutoregressivePrediction:
        """Raw outputs (..., O) as an `AutoregressivePrediction` (views)."""
        return AutoregressivePrediction(*self.split_rest(outputs))

    def nll(self, prediction: Any, latents: Tensor) -> Tensor:
        """-log p in nats of each modelled dimension of next latents (..., Z), given those before it: (..., N)."""
        return mixture_nll(self._mixtures(prediction, latents), self.select_modelled(latents))

    def weights(self, prediction: Any, latents: Tensor) -> Tensor:
        """Mixture weights (..., K, N) of each modelled dimension, given the next latents (..., Z) before it."""
        return self._mixtures(prediction, latents).logits.softmax(dim=-2)

    def _mixtures(self, prediction: Any, latents: Tensor) -> Prediction:
        """The mixture of each modelled dimension of next latents (..., Z), given those before it."""
        modelled = self.select_modelled(latents)  # (..., N)
        n = len(self.modelled)
        mask = torch.ones(n, n, device=latents.device).tril(-1)  # dimension i sees those before it
        earlier = F.linear(modelled, (self.earlier * mask[:, None]).flatten(0, 1))  # (..., N * U)
        units = torch.relu(prediction.context + earlier).unflatten(-1, (n, -1))  # (..., N, U)
        outputs = torch.einsum("...nu,nuw->...nw", units, self.mixture) + self.mixture_bias  # (..., N, 3K)
        logits, means, log_stds = outputs.unflatten(-1, (3, -1)).float().transpose(-3, -1).unbind(-2)  # (..., K, N)
        means = means if prediction.kept is None else means + prediction.kept.unsqueeze(-2)
        return Prediction(logits, means, log_stds, prediction.termination, None)

    @torch.no_grad()
    def sample(self, prediction: Any, temperature: Tensor, noise: Noise) -> Tensor:
        """Next latents (B, Z): modelled dimensions one after the other, the rest from the prior.

        Each dimension is drawn as by the paper's head (`sample_latents`); the noise of the prior is the same at every
        temperature.
        """
        latents = noise.normal.clone()  # (B, Z)
        if len(latents) == 1 and latents.device.type == "cpu":
            latents[0, self._index(latents.device)] = torch.from_numpy(self._sample_one(prediction, temperature, noise))
            return latents
        context = prediction.context.float().unflatten(-1, (len(self.modelled), -1))  # (B, N, U)
        drawn = latents.new_empty(len(latents), len(self.modelled))  # (B, N)
        for i, dimension in enumerate(self.modelled):
            units = torch.addmm(context[:, i], drawn[:, :i], self.earlier[i, :, :i].t()).relu_()  # (B, U)
            outputs = torch.addmm(self.mixture_bias[i], units, self.mixture[i])  # (B, 3K)
            logits, means, log_stds = outputs[..., None].chunk(3, dim=1)  # (B, K, 1)
            means = means if prediction.kept is None else means + prediction.kept[:, i, None, None]
            mixture = Prediction(mask_components(logits, self.masked), means, log_stds, prediction.termination, None)
            uniform, normal = noise.uniform[:, dimension, None], noise.normal[:, dimension, None]  # (B, 1)
            drawn[:, i : i + 1] = sample_latents(mixture, temperature, uniform, normal)
        latents[:, self._index(latents.device)] = drawn
        return latents

    def _sample_one(self, prediction: Any, temperature: Tensor, noise: Noise) -> NDArray[np.float32]:
        """`sample` for one dream, the modelled dimensions (N,): the same draws without PyTorch.

        One dream is many small products, for which NumPy has a third of PyTorch's cost; and for the few numbers of one
        mixture Python has less than NumPy.
        """
        n, k, tau = len(self.modelled), self.config.mixtures, float(temperature)
        context = prediction.context[0].float().numpy().reshape(n, -1)  # (N, U)
        uniform, normal = (part[0, self._index(part.device)].tolist() for part in (noise.uniform, noise.normal))
        kept = [0.0] * n if prediction.kept is None else prediction.kept[0].tolist()
        drawn, units = np.zeros(n, np.float32), np.ones(self.config.units + 1, np.float32)  # the last one is the bias's
        for i, (earlier, mixture) in enumerate(self._weights_as_arrays()):
            np.dot(earlier, drawn[:i], out=units[:-1])
            units[:-1] += context[i]
            np.maximum(units, 0, out=units)
            outputs = (mixture @ units).tolist()
            logits = outputs[:k]
            for component in self.masked:
                logits[component] = -math.inf
            top = max(logits)
            weights = [math.exp((logit - top) / tau) for logit in logits]
            threshold = uniform[i] * sum(weights)
            chosen = sum(weight <= threshold for weight in accumulate(weights[:-1]))
            mean, log_std = outputs[k + chosen] + kept[i], outputs[2 * k + chosen]
            std = math.exp(min(max(log_std, LOG_STD_RANGE[0]), LOG_STD_RANGE[1])) * math.sqrt(tau)
            drawn[i] = min(max(mean + std * normal[i], -LATENT_LIMIT), LATENT_LIMIT)
        return drawn

    def _weights_as_arrays(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """For each modelled dimension i, in order: latents before it -> units (U, i), and units and a 1 -> mixture
        (3K, U + 1). Converted again when the weights have changed."""
        parameters = self.earlier, self.mixture, self.mixture_bias
        version = tuple(number for value in parameters for number in (value.data_ptr(), value._version))
        if self._arrays[0] != version:
            earlier, mixture, bias = (value.detach().float().numpy() for value in parameters)
            mixture = np.concatenate([mixture, bias[:, None]], axis=1).transpose(0, 2, 1)  # (N, 3K, U + 1)
            pairs = [
                (np.ascontiguousarray(earlier[i, :, :i]), np.ascontiguousarray(mixture[i])) for i in range(len(bias))
            ]
            self._arrays = version, pairs
        return self._arrays[1]
