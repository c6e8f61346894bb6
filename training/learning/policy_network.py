"""Controllers and the policy networks of PPO: from one to the other, and several controllers merged into one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.infra.checkpoint import below, read_tensors
from wm_envs.errors import InvalidOption
from wm_envs.models.controller import ControllerConfig

if TYPE_CHECKING:
    from stable_baselines3 import PPO


def parameters_of(learner: PPO) -> Tensor:
    """The policy's weights and biases as the flat parameters (P,) of a controller."""
    return flat_parameters(affine_maps(learner))


def flat_parameters(layers: Iterable[torch.nn.Linear]) -> Tensor:
    """The weights and biases of layers, from the first to the last, as the flat parameters (P,) of a controller."""
    parts = [part for layer in layers for part in (layer.weight.t().flatten(), layer.bias)]
    return torch.cat(parts).detach()


def start_from(learner: PPO, config: ControllerConfig, parameters: Tensor, wanted: ControllerConfig) -> None:
    """Give the policy a controller's parameters (P,); raises `InvalidOption` when it is not of the kind `wanted`.

    If its actions differ, each action of the policy starts with the score of the nearest action of the controller.
    """
    if not config.choices or dataclasses.replace(config, choices=wanted.choices) != wanted:
        raise InvalidOption("start", config, f"a controller like {wanted}", "give its --hidden-sizes")
    there, ours = (torch.tensor(kind.choices).view(-1, kind.action) for kind in (config, wanted))
    nearest = torch.cdist(ours, there).argmin(dim=1)
    maps = affine_maps(learner)
    with torch.no_grad():
        for layer, (weight, bias) in zip(maps, config.split(parameters), strict=True):
            rows = nearest if layer is maps[-1] else slice(None)
            layer.weight.copy_(weight.t()[rows])
            layer.bias.copy_(bias[rows])


def values_from(learner: PPO, checkpoint: Path) -> dict[str, Tensor]:
    """Give the learner the value network of another one's checkpoint, if it has the same sizes.

    Returns what that network's values depend on, the statistics of the returns, by their name in a checkpoint.
    """
    tensors, _ = read_tensors(checkpoint)
    found = {name: value for name, value in below("model/", tensors).items() if "value_net" in name}
    own = {name: value for name, value in learner.policy.state_dict().items() if "value_net" in name}
    if {name: value.shape for name, value in found.items()} != {name: value.shape for name, value in own.items()}:
        return {}
    learner.policy.load_state_dict(found, strict=False)
    return {name: value for name, value in below("carried/", tensors).items() if name == "returns"}


def affine_maps(learner: PPO) -> list[torch.nn.Linear]:
    """The policy's affine maps, from the observation to the scores of the actions."""
    hidden = [part for part in learner.policy.mlp_extractor.policy_net if isinstance(part, torch.nn.Linear)]
    last = learner.policy.action_net
    assert isinstance(last, torch.nn.Linear)
    return [*hidden, last]


def ensemble(members: list[tuple[ControllerConfig, Tensor]]) -> tuple[ControllerConfig, Tensor]:
    """One controller whose scores are the mean of its members' (all of one config, with a bias)."""
    config, count = members[0][0], len(members)
    assert config.bias and all(other == config for other, _ in members)
    if not config.hidden_sizes:
        return config, torch.stack([parameters for _, parameters in members]).mean(0)
    parts, last = [], len(config.layers) - 1
    for number, layers in enumerate(zip(*(config.split(parameters) for _, parameters in members), strict=True)):
        weights, biases = zip(*layers, strict=True)
        if number == 0:  # all see the same features
            weight, bias = torch.cat(weights, dim=1), torch.cat(biases)
        elif number == last:
            weight, bias = torch.cat(weights) / count, torch.stack(biases).mean(0)
        else:
            weight, bias = torch.block_diag(*weights), torch.cat(biases)
        parts += [weight.flatten(), bias]
    return dataclasses.replace(config, hidden_sizes=tuple(width * count for width in config.hidden_sizes)), torch.cat(
        parts
    )
