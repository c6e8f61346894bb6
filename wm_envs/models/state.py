"""The state of a dream, the random numbers of one step, and the outcome of that step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LATENT_LIMIT = 32.0  # latents are clipped to +-32, which keeps dreams finite; V's latents are about standard normal

Recurrent = tuple[Tensor, ...]  # M's recurrent state, each part (B, ...); opaque to all code but M's


class State(NamedTuple):
    """The state of B dreams. `WorldModel` never changes its tensors.

    It is complete: the same State, actions and noise give the same dream.
    """

    latents: Tensor  # (B, Z) float32, V's latents of the current frame
    recurrent: Recurrent  # M's recurrent state before the next step
    ticks: Tensor  # (B,) int64, game ticks since the episode began; 0 sets M's restart flag
    progress: Tensor  # (B,) float32, share of the goal that is reached, 0 to 1; 0 in games without one

    def select(self, envs: Tensor) -> State:
        """The state of the environments with these indices or this mask, in new tensors."""
        recurrent = tuple(part[envs] for part in self.recurrent)
        return State(self.latents[envs], recurrent, self.ticks[envs], self.progress[envs])

    def put(self, envs: Tensor, other: State) -> None:
        """Overwrite the environments where the mask `envs` (B,) bool is True with those of `other`, in order.

        Changes this state in place.
        """
        for value, new in zip(self.tensors(), other.tensors(), strict=True):
            value[envs] = new

    def clone(self) -> State:
        """A copy that shares no memory with this one."""
        recurrent = tuple(part.clone() for part in self.recurrent)
        return State(self.latents.clone(), recurrent, self.ticks.clone(), self.progress.clone())

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of the state: latents, the recurrent parts, ticks, progress."""
        return self.latents, *self.recurrent, self.ticks, self.progress


def joined(states: Sequence[State]) -> State:
    """The states of several batches as one batch, in order."""
    columns = zip(*(state.tensors() for state in states), strict=True)
    latents, *recurrent, ticks, progress = (torch.cat(column) for column in columns)
    return State(latents, tuple(recurrent), ticks, progress)


class Noise(NamedTuple):
    """The random numbers of one step of B dreams."""

    uniform: Tensor  # (B, Z) in [0, 1), picks the mixture component of each latent
    normal: Tensor  # (B, Z) standard normal
    termination: Tensor  # (B,) in [0, 1); the episode ends if it is below the termination probability

    def select(self, envs: Tensor) -> Noise:
        """The noise of the environments with these indices."""
        return Noise(*(value[envs] for value in self))


class Outcome(NamedTuple):
    """The result of one step of B dreams."""

    reward: Tensor  # (B,) float32
    terminated: Tensor  # (B,) bool
    termination_probability: Tensor  # (B,) float32, calibrated
