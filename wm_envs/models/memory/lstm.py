"""An M whose recurrent state is that of an LSTM, with a linear head; kinds differ in what the head says of latents."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn

from wm_envs.models.memory.base import Memory, MemoryConfig
from wm_envs.models.memory.inference import PackedStep
from wm_envs.models.state import Recurrent


class LSTMMemory(Memory):
    """An LSTM and a head of O outputs: those of the next latents, the logit of the termination, R of the reward."""

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__()
        self.config = config
        self.lstm = nn.LSTM(self.inputs, config.hidden)
        self.rewards = config.reward * (1 + config.end_reward)  # R
        self.termination_output = self.latent_outputs  # index of the termination logit
        self.head = nn.Linear(config.hidden, self.termination_output + 1 + self.rewards)
        self._step = PackedStep()

    @property
    @abstractmethod
    def latent_outputs(self) -> int:
        """Number of the head's outputs that describe the next latents."""

    @property
    def recurrent_shapes(self) -> dict[str, tuple[int, ...]]:
        """See `Memory.recurrent_shapes`."""
        return {"hidden": (self.config.hidden,), "cell": (self.config.hidden,)}

    def features(self, recurrent: Recurrent) -> dict[str, Tensor]:
        """See `Memory.features`."""
        hidden, cell = recurrent
        return {"h": hidden, "c": cell}

    def forward(self, inputs: Tensor, recurrent: Recurrent) -> tuple[Tensor, Recurrent]:
        """See `Memory.forward`."""
        hidden, (h, c) = self.lstm(inputs, (recurrent[0][None], recurrent[1][None]))
        return self.head(hidden), (h[0], c[0])

    def step(
        self, latents: Tensor, action: Tensor, ticks: Tensor, recurrent: Recurrent, progress: Tensor | None = None
    ) -> tuple[Any, Recurrent]:
        """See `Memory.step`."""
        parts = self.input_parts(latents, action, ticks, progress=progress)
        outputs, recurrent = self._step(self.lstm, self.head, parts, recurrent)
        return self.split(outputs), recurrent

    @torch.no_grad()
    def shift_termination(self, shift: float) -> None:
        """See `Memory.shift_termination`."""
        self.head.bias[self.termination_output] += shift

    def share(self) -> Self:
        """See `Memory.share`."""
        other = copy.copy(self)
        other._step = PackedStep(self._step.weights)
        return other
