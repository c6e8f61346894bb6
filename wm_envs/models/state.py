"""Where dreams are, the random numbers of a step, and what the step gave."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class State(NamedTuple):
    """Where B dreams are. Tensors of float32 save `ticks`; `WorldModel` never changes them."""

    latents: Tensor  # (B, Z) what V would make of the frame now
    hidden: Tensor  # (B, H) M's h after all earlier steps
    cell: Tensor  # (B, H) M's c
    ticks: Tensor  # (B,) int64, game ticks since the episode began; 0 tells M to restart

    def select(self, lanes: Tensor) -> State:
        """The state of some lanes, by index or mask."""
        return State(*(value[lanes] for value in self))

    def put(self, lanes: Tensor, other: State) -> None:
        """Overwrite `lanes` (B,) bool by those of `other`, in order: for the one owner of this state."""
        for value, new in zip(self, other, strict=True):
            value[lanes] = new


class Noise(NamedTuple):
    """The random numbers of one step; (1, ...) is broadcast over lanes."""

    uniform: Tensor  # (B, Z) in [0, 1): which component
    normal: Tensor  # (B, Z) standard normal
    termination: Tensor  # (B,) in [0, 1): whether the episode ends


class Outcome(NamedTuple):
    """What one step of B dreams gave."""

    reward: Tensor  # (B,) float32
    terminated: Tensor  # (B,) bool, M's verdict
    termination_probability: Tensor  # (B,) float32, calibrated
