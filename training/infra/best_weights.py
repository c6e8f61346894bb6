"""The weights with the lowest held-out loss, and when to stop looking for better ones."""

from __future__ import annotations

import math

from torch import Tensor, nn, tensor

BEST, CHECKS, LOSS = "best/", "best_checks", "best_loss"  # names in a checkpoint's extra state


class BestWeights:
    """The weights of a model at the check with the lowest loss so far; a checkpoint holds them as `tensors`."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.loss = math.inf
        self.checks = 0  # since the best one
        self.weights: dict[str, Tensor] = {}

    def check(self, loss: float) -> None:
        """Keep the model's weights if `loss` is lower than at every check before."""
        self.checks += 1
        if loss < self.loss:
            self.loss, self.checks = loss, 0
            self.weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Everything to go on from, for a checkpoint."""
        weights = {BEST + name: value for name, value in self.weights.items()}
        return weights | {LOSS: tensor(self.loss).double(), CHECKS: tensor(float(self.checks))}

    def resume(self, loss: Tensor, checks: Tensor, weights: list[Tensor]) -> None:
        """Go on from `tensors`, with the weights in the order of the model's."""
        self.loss, self.checks = float(loss), int(checks)
        self.weights = dict(zip(self.model.state_dict(), weights, strict=True))

    def restore(self) -> None:
        """Give the model its best weights."""
        if self.weights:
            self.model.load_state_dict(self.weights)


def best_weights(extra_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The best weights in a checkpoint's extra state; empty if it has none."""
    return {name.removeprefix(BEST): value for name, value in extra_state.items() if name.startswith(BEST)}
