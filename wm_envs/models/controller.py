"""C: the paper's linear controller, or one with hidden layers; `act` runs one controller or a population."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, get_args

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from wm_envs.errors import ControllerMismatch
from wm_envs.validation import STRICT, Size

Observation = Literal["zh", "zch", "z"]
OBSERVATIONS: tuple[Observation, ...] = get_args(Observation)


@dataclass(frozen=True, config=STRICT)
class ControllerConfig:
    """Sizes of C, a network from features (the observation "zh", "zch" or "z") to an action.

    Without `hidden_sizes`, C is linear (World Models, section 2.3); with them, it has hidden layers of tanh units.
    Without `choices`, the action is the tanh of the outputs. With `choices`, the outputs are scores of N actions, and
    C takes the action of the highest score.
    """

    latent: Size = 64  # Z
    hidden: Size = 512  # H
    action: Annotated[int, Field(gt=0, le=100)] = 1  # A
    observation: Observation = "zh"
    bias: bool = True
    hidden_sizes: tuple[Size, ...] = ()
    # (N * A,) the actions to choose from, one after the other
    choices: Annotated[tuple[Annotated[float, Field(ge=-1, le=1)], ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _choices_are_actions(self) -> ControllerConfig:
        if len(self.choices) % self.action:
            raise ValueError(f"{len(self.choices)} numbers in choices, expected a multiple of {self.action}")
        return self

    @property
    def features(self) -> int:
        """F, the length of the observation."""
        return self.latent + self.hidden * {"z": 0, "zh": 1, "zch": 2}[self.observation]

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of every layer."""
        widths = [self.features, *self.hidden_sizes, len(self.choices) // self.action if self.choices else self.action]
        return list(pairwise(widths))

    @property
    def parameters(self) -> int:
        """P, the length of the flat parameter vector: for each layer its weights (in, out), then its bias (out,)."""
        return sum((inputs + int(self.bias)) * outputs for inputs, outputs in self.layers)

    def split(self, parameters: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The weights (..., in, out) and the bias (..., out) of every layer in flat parameters (..., P)."""
        layers, at = [], 0
        for inputs, outputs in self.layers:
            weight = parameters[..., at : at + inputs * outputs].unflatten(-1, (inputs, outputs))
            at += inputs * outputs
            bias = parameters[..., at : at + outputs] if self.bias else parameters.new_zeros(outputs)
            at += outputs * self.bias
            layers.append((weight, bias))
        return layers


def outputs(config: ControllerConfig, parameters: Tensor, features: Tensor) -> Tensor:
    """The outputs of C's network (..., R, A), or the scores (..., R, N) of its choices, for features (..., R, F).

    `parameters` (P,) is one controller for all; (N, P) is a population of N, with features (N, R, F) from R
    environments of each. Raises `ControllerMismatch` if the sizes do not match.
    """
    if parameters.shape[-1] != config.parameters or features.shape[-1] != config.features:
        raise ControllerMismatch(
            "controller", f"{parameters.shape[-1]} parameters for {features.shape[-1]} features",
            f"{config.parameters} parameters for {config.features} features ({config.observation})",
            "use the world and observation that the controller was trained with",
        )  # fmt: skip
    values = features
    for number, (weight, bias) in enumerate(config.split(parameters)):
        values = (torch.tanh(values) if number else values) @ weight + bias[..., None, :]  # (..., R, out)
    return values


def to_actions(config: ControllerConfig, values: Tensor) -> Tensor:
    """Actions (..., A) in [-1, 1] from C's outputs (..., A), or from the scores (..., N) of its choices."""
    if not config.choices:
        return torch.tanh(values)
    table = torch.tensor(config.choices, device=values.device).unflatten(0, (-1, config.action))
    return table[values.argmax(dim=-1)]


def act(config: ControllerConfig, parameters: Tensor, features: Tensor) -> Tensor:
    """Actions (..., R, A) in [-1, 1] for features (..., R, F); see `outputs`."""
    return to_actions(config, outputs(config, parameters, features))


class Controller(nn.Module):
    """A controller as a torch module: features (..., F) -> actions (..., A) in [-1, 1].

    `weights` is its only parameter, the flat vector (P,) that `act` takes.
    """

    def __init__(self, config: ControllerConfig, weights: Tensor) -> None:
        super().__init__()
        self.config, self.weights = config, nn.Parameter(weights)

    def forward(self, features: Tensor) -> Tensor:
        """Actions (..., A) for features (..., F)."""
        if features.ndim == 1:
            return self(features[None])[0]
        return act(self.config, self.weights, features)
