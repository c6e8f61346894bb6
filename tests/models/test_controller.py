"""C: one controller against a population and PyTorch's layers, and actions to choose from."""

from itertools import pairwise

import pytest
import torch

from tests.helpers import TINY_CONTROLLER
from wm_envs.errors import ControllerMismatch
from wm_envs.models.controller import ControllerConfig, act


@pytest.mark.parametrize("shape", [(12,), (14,), (2, 12)])
def test_act_refuses_parameters_of_the_wrong_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(ControllerMismatch, match="13 parameters for 12 features"):
        act(TINY_CONTROLLER, torch.zeros(shape), torch.zeros(5, 12))
    with pytest.raises(ControllerMismatch, match="12 features"):
        act(TINY_CONTROLLER, torch.zeros(13), torch.zeros(5, 20))


def test_population_acts_like_its_single_controllers() -> None:
    population, features = torch.randn(3, 13), torch.randn(3, 5, 12)
    actions = act(TINY_CONTROLLER, population, features)
    assert actions.shape == (3, 5, 1)
    for member, observed, done in zip(population, features, actions, strict=True):
        torch.testing.assert_close(act(TINY_CONTROLLER, member, observed), done)
        torch.testing.assert_close(torch.tanh(observed @ member[:12, None] + member[12]), done)


@pytest.mark.parametrize("hidden_sizes", [(), (7,), (5, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_hidden_layers_match_torch(hidden_sizes: tuple[int, ...], bias: bool) -> None:
    config = ControllerConfig(4, 8, 2, "zh", bias, hidden_sizes)
    widths = [12, *hidden_sizes, 2]
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [torch.nn.Linear(inputs, outputs, bias=bias), torch.nn.Tanh()]
    network = torch.nn.Sequential(*layers)
    maps = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    parameters = torch.cat(
        [part.flatten() for layer in maps for part in (layer.weight.t(), *([layer.bias] if bias else []))]
    ).detach()
    assert config.parameters == len(parameters)
    features = torch.randn(5, 12)
    torch.testing.assert_close(act(config, parameters, features), network(features).detach())


def test_choices_take_the_action_of_the_highest_score() -> None:
    config = ControllerConfig(4, 8, 1, "z", False, (), (0.0, 1.0, -1.0))
    parameters, features = torch.randn(12), torch.randn(6, 4)
    scores = features @ parameters.view(4, 3)
    expected = torch.tensor([0.0, 1.0, -1.0])[scores.argmax(1)][:, None]
    assert torch.equal(act(config, parameters, features), expected)
    population = parameters.expand(2, 12)
    assert torch.equal(act(config, population, features.expand(2, 6, 4)), expected.expand(2, 6, 1))
