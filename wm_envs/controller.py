"""C: the paper's linear controller, a whole population at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wm_envs.errors import ControllerMismatch

OBSERVATIONS = ("zh", "zch", "z")


@dataclass(frozen=True)
class ControllerConfig:
    """A linear map from what is observed ("zh", "zch" or "z") to an action, through tanh."""

    latent: int = 64
    hidden: int = 512
    action: int = 1
    observation: str = "zh"
    bias: bool = True

    @property
    def features(self) -> int:
        """Length of the observation."""
        return self.latent + self.hidden * {"z": 0, "zh": 1, "zch": 2}[self.observation]

    @property
    def parameters(self) -> int:
        """Length of the flat parameter vector: weights (F, A), then the bias (A,)."""
        return (self.features + int(self.bias)) * self.action


def act(config: ControllerConfig, parameters: Tensor, features: Tensor) -> Tensor:
    """Actions (..., R, A) in (-1, 1) for features (..., R, F).

    `parameters` (P,) is one controller for all; (N, P) is a population, and features (N, R, F) then
    hold R lanes of each. Raises `ControllerMismatch` when the sizes do not fit.
    """
    if parameters.shape[-1] != config.parameters or features.shape[-1] != config.features:
        raise ControllerMismatch(
            "controller", f"{parameters.shape[-1]} parameters for {features.shape[-1]} features",
            f"{config.parameters} parameters for {config.features} features ({config.observation})",
            "use the world and observation that it was bred with",
        )  # fmt: skip
    size = config.features * config.action
    weight = parameters[..., :size].unflatten(-1, (config.features, config.action))
    pre = features @ weight  # (..., R, A)
    if config.bias:
        pre = pre + parameters[..., None, size:]
    return torch.tanh(pre)
