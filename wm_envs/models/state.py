"""The state of a dream, the random numbers of one step, and what that step gives."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

Recurrent = tuple[Tensor, ...]  # what M remembers, each (B, ...); only M knows what the parts mean


class State(NamedTuple):
    """The state of B dreams. `WorldModel` never changes its tensors.

    Everything a dream depends on is in here: the same State, actions and noise give the same dream.
    """

    latents: Tensor  # (B, Z) float32, V's latents of the current frame
    recurrent: Recurrent  # M's memory of all earlier steps
    ticks: Tensor  # (B,) int64, game ticks since the episode began; 0 tells M to start from nothing

    def select(self, envs: Tensor) -> State:
        """The state of some environments, by index or mask, in new tensors."""
        return State(self.latents[envs], tuple(part[envs] for part in self.recurrent), self.ticks[envs])

    def put(self, envs: Tensor, other: State) -> None:
        """Overwrite the environments in the mask `envs` (B,) bool by `other`, in order. Changes this state."""
        for value, new in zip(self.tensors(), other.tensors(), strict=True):
            value[envs] = new

    def clone(self) -> State:
        """A copy that shares no memory with this one."""
        return State(self.latents.clone(), tuple(part.clone() for part in self.recurrent), self.ticks.clone())

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of the state: latents, M's parts, ticks."""
        return self.latents, *self.recurrent, self.ticks


class Noise(NamedTuple):
    """The random numbers of one step of B dreams."""

    uniform: Tensor  # (B, Z) in [0, 1): which mixture component each latent is drawn from
    normal: Tensor  # (B, Z) standard normal
    termination: Tensor  # (B,) in [0, 1): whether the episode ends

    def select(self, envs: Tensor) -> Noise:
        """The noise of some environments, by index."""
        return Noise(*(value[envs] for value in self))


class Outcome(NamedTuple):
    """What one step of B dreams gives."""

    reward: Tensor  # (B,) float32
    terminated: Tensor  # (B,) bool
    termination_probability: Tensor  # (B,) float32, calibrated
