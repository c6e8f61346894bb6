"""The small interface that a batch of dreams and a batch of real games share."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel

Mask = NDArray[np.bool_]


class StepResult(NamedTuple):
    """What one step gives each of B environments."""

    rewards: NDArray[Any]  # (B,) float
    terminated: Mask  # (B,)
    truncated: Mask  # (B,) a real game stopped the episode by itself without an end; a dream never does
    infos: dict[str, NDArray[Any]]  # (B,) each


class Engine(Protocol):
    """B environments of one world in lockstep: `Dreams` or `LatentGames`.

    The environments and all rollouts are shells over one of these. An environment runs from its reset until its
    episode is over by itself; limits of time belong to the caller.
    """

    world: WorldModel
    running: Mask  # (B,) which episodes have begun and are not over

    @property
    def state(self) -> State:
        """The State of all B environments; the engine's own, not to be changed."""
        ...

    @property
    def envs(self) -> Tensor:
        """(B,) int64, the number of the environment in each row of the batch; see `drop_finished`."""
        ...

    def step(self, actions: NDArray[np.float32]) -> StepResult:
        """One step of `frame_skip` ticks with the game's own actions (B, A)."""
        ...

    def observe(self, observation: str) -> Tensor:
        """Features (B, F); see `WorldModel.observe`."""
        ...

    def frames(self) -> NDArray[np.uint8]:
        """The current frames in a new array, (B, 64, 64, 3)."""
        ...

    def drop_finished(self) -> None:
        """Leave finished environments out of the batch from now on, where that saves work."""
        ...

    def close(self) -> None:
        """Free everything. May be called twice."""
        ...
