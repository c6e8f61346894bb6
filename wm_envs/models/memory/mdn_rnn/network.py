"""The paper's MDN-RNN (appendix A.2) with heads for termination and reward."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from wm_envs.models.memory.lstm import LSTMMemory
from wm_envs.models.memory.mdn_rnn.config import MDNRNNConfig
from wm_envs.models.memory.mixture import Prediction, mask_components, mixture_nll, sample_latents
from wm_envs.models.state import Noise


class MDNRNN(LSTMMemory):
    """An LSTM whose head gives a mixture of K Gaussians for each latent dimension, or one for all of them."""

    config: MDNRNNConfig

    @property
    def components(self) -> int:
        """Number of the logits of mixture components."""
        return self.config.mixtures * (1 if self.config.joint else self.config.latent)

    @property
    def latent_outputs(self) -> int:
        """See `LSTMMemory.latent_outputs`."""
        return self.components + 2 * self.config.mixtures * self.config.latent

    def split(self, outputs: Tensor) -> Prediction:
        """Raw outputs (..., O) as a `Prediction` (views, but for the means with `keep`)."""
        k, z = self.config.mixtures, self.config.latent
        latents, termination, reward, units, kept = self.split_rest(outputs)
        parts = latents.split((self.components, k * z, k * z), dim=-1)
        logits, means, log_stds = (part.unflatten(-1, (k, -1)) for part in parts)
        means = means if kept is None else means + kept.unsqueeze(-2)
        return Prediction(logits, means, log_stds, termination, reward, units)

    def nll(self, prediction: Any, latents: Tensor) -> Tensor:
        """See `Memory.nll`."""
        return mixture_nll(prediction, latents)

    def weights(self, prediction: Any, latents: Tensor) -> Tensor:
        """See `Memory.weights`."""
        weights: Tensor = prediction.logits.float().softmax(dim=-2)
        return weights

    def sample(self, prediction: Any, temperature: Tensor, noise: Noise) -> Tensor:
        """Draw next latents (B, Z) at `temperature` (B, 1) or (1, 1); see `sample_latents`."""
        prediction = prediction._replace(logits=mask_components(prediction.logits, self.masked))
        return sample_latents(prediction, temperature, noise.uniform, noise.normal)
