"""An M whose recurrent state is that of an LSTM, with a linear head; kinds differ in what the head says of latents."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import KW_ONLY
from typing import Annotated, Any, Self

import torch
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from wm_envs.models.memory.base import Memory, MemoryConfig
from wm_envs.models.memory.inference import PackedStep
from wm_envs.models.memory.loss import has_classes
from wm_envs.models.state import Recurrent
from wm_envs.validation import STRICT


@dataclass(frozen=True, config=STRICT)
class LSTMConfig(MemoryConfig):
    """What the config of these kinds has more."""

    _: KW_ONLY
    reward_bins: Annotated[
        int, Field(ge=0, le=255, description="classes of the reward, odd, with a cross-entropy; 0: its mean is learned")
    ] = 0
    keep: Annotated[bool, Field(description="the means of the next latents are a share of the last ones, and more")] = (
        False
    )

    reward_units: Annotated[
        int, Field(ge=0, le=4096, description="units that the reward sees the next latents with; 0: it sees only h")
    ] = 0

    @field_validator("reward_bins")
    @classmethod
    def _bins_have_a_middle(cls, bins: int) -> int:
        if bins and (bins < 3 or bins % 2 == 0):
            raise ValueError(f"reward_bins is {bins}, expected 0 or an odd number from 3, so that one bin is 0")
        return bins


class LSTMMemory(Memory):
    """An LSTM and a head of O outputs: those of the next latents, the logit of the termination, R of the reward (R * C
    with classes), what h adds to the units of the reward and, with `keep`, N gates of the last latents."""

    config: LSTMConfig

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.lstm = nn.LSTM(self.inputs, config.hidden)
        self.rewards = config.reward * (1 + config.end_reward)  # R
        self.reward_outputs = self.rewards * (config.reward_bins or 1)
        self.reward_units = config.reward * config.reward_units
        self.gates = len(self.modelled) * config.keep
        self.termination_output = self.latent_outputs  # index of the termination logit
        rewards_at = self.termination_output + 1
        self.head = nn.Linear(config.hidden, rewards_at + self.reward_outputs + self.reward_units + self.gates)
        if self.reward_units:
            self.next_latents = nn.Linear(len(self.modelled), self.reward_units, bias=False)
            self.next_reward = nn.Linear(self.reward_units, config.reward_bins or 1, bias=False)
        self._step = PackedStep()
        with torch.no_grad():
            if config.reward_bins:  # all classes are as probable at first, so that the mean is 0
                self.head.weight[rewards_at : rewards_at + self.reward_outputs] = 0
                self.head.bias[rewards_at : rewards_at + self.reward_outputs] = 0
            if self.reward_units:
                self.next_reward.weight.zero_()
            if config.keep:
                self.head.bias[-self.gates :] = 2.0  # 0.88 of the last latents

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
        outputs = self.head(hidden)
        if self.gates:
            kept = self._kept(outputs, inputs[..., : self.gates])
            outputs = torch.cat([outputs[..., : -self.gates], kept.to(outputs.dtype)], dim=-1)
        return outputs, (h[0], c[0])

    def _kept(self, outputs: Tensor, latents: Tensor) -> Tensor:
        """What is kept of the last latents (..., N), by the gates among the head's outputs (..., O)."""
        return outputs[..., -self.gates :].sigmoid() * latents

    def split_rest(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Of raw outputs (..., O): those of the latents, the logit of the termination, the reward, what h adds to its
        units, and what is kept of the last latents (..., N)."""
        sizes = self.latent_outputs, 1, self.reward_outputs, self.reward_units, self.gates
        latents, termination, rewards, units, kept = outputs.split(sizes, dim=-1)
        reward = rewards.unflatten(-1, (self.rewards, -1)) if self.config.reward_bins and self.rewards else rewards
        return (
            latents,
            termination.squeeze(-1),
            reward if self.rewards else None,
            units if self.reward_units else None,
            kept if self.gates else None,
        )

    def see_next(self, prediction: Any, latents: Tensor) -> Any:
        """See `Memory.see_next`. The reward of a step that ends the episode stays: it has no next latents."""
        if prediction.units is None:
            return prediction
        seen = self.next_latents(self.select_modelled(latents))
        more = self.next_reward(torch.relu(prediction.units.float() + seen))  # (..., C or 1)
        more = more[..., None, :] if has_classes(prediction) else more
        axis = prediction.termination.ndim  # of the R rewards
        going_on, ending = prediction.reward.float().split((1, self.rewards - 1), dim=axis)
        return prediction._replace(reward=torch.cat([going_on + more, ending], dim=axis))

    def step(
        self, latents: Tensor, action: Tensor, ticks: Tensor, recurrent: Recurrent, progress: Tensor | None = None
    ) -> tuple[Any, Recurrent]:
        """See `Memory.step`."""
        parts = self.input_parts(latents, action, ticks, progress=progress)
        outputs, recurrent = self._step(self.lstm, self.head, parts, recurrent)
        if self.gates:
            outputs[..., -self.gates :] = self._kept(outputs, parts[0])
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
