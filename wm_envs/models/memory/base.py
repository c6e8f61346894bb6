"""M: what every kind offers.

M maps the latents z_t, the action a_t and a recurrent state to the distribution of z_{t+1} and the new recurrent state.
Other code treats the recurrent state and the predictions as opaque: of a prediction it reads only `termination` (...),
the logit that the episode ends with this step, and `reward` (..., R), logits of classes (..., R, C) or None, and gives
it back to `nll` and `sample`.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY
from typing import Annotated, Any, Self

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from wm_envs.models.kinds import KindConfig
from wm_envs.models.memory.loss import memory_loss
from wm_envs.models.state import Noise, Recurrent
from wm_envs.validation import STRICT, Size


@dataclass(frozen=True, config=STRICT)
class MemoryConfig(KindConfig):
    """What the config of every M has; the defaults are the paper's for Doom."""

    latent: Size = 64  # Z
    action: Size = 1  # A
    hidden: Annotated[Size, Field(description="H, units of the recurrent state")] = 512
    mixtures: Annotated[int, Field(gt=0, le=100, description="K, components of each mixture")] = 5
    _: KW_ONLY
    restart: bool = True  # True: a further input is 1 on the first step of an episode, else 0
    clock: Annotated[int, Field(ge=0)] = 0  # ticks; > 0: a further input is sqrt(ticks since the start / clock), <= 1
    progress: bool = False  # True: a further input is sqrt(1 - State.progress), what is left to the goal
    reward: bool = False  # True: M predicts the reward
    end_reward: bool = False  # True: and, apart from it, that of a step that ends the episode, which is often another
    termination_weight: Annotated[float, Field(gt=0)] = 10.0  # loss weight of ends; raises their logit by its log


class Memory(nn.Module, ABC):
    """M. One step is a sequence of one: `step` gives what `forward` gives."""

    config: MemoryConfig
    masked: tuple[int, ...] = ()  # components of the mixtures that `sample` does not draw

    # --- the recurrent state ------------------------------------------------------------------------

    @property
    @abstractmethod
    def recurrent_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape (without the batch axis) of each part of the recurrent state."""

    @abstractmethod
    def features(self, recurrent: Recurrent) -> dict[str, Tensor]:
        """The parts of the recurrent state that a controller can observe: "h" and "c", (B, H) each.

        h is within -1 and 1; c grows by at most 1 a step.
        """

    def initial_state(self, batch: int) -> Recurrent:
        """The recurrent state before the first step of an episode: zeros."""
        return tuple(torch.zeros(batch, *shape, device=self.device) for shape in self.recurrent_shapes.values())

    # --- inputs -------------------------------------------------------------------------------------

    @property
    def modelled(self) -> list[int]:
        """The N latent dimensions that M sees and predicts, in the order of `nll`: by default all of them."""
        return list(range(self.config.latent))

    def select_modelled(self, latents: Tensor) -> Tensor:
        """The modelled dimensions (..., N) of latents (..., Z)."""
        return latents

    @property
    def inputs(self) -> int:
        """I, the length of an input."""
        config = self.config
        return len(self.modelled) + config.action + config.restart + (config.clock > 0) + config.progress

    def assemble(
        self, latents: Tensor, actions: Tensor, ticks: Tensor, restart: Tensor | None = None,
        progress: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Inputs (..., I) from latents (..., Z), actions (..., A) and the ticks (...) since the start of the episode.

        `restart` (...) is 1 on the first step of a sequence; by default where `ticks` is 0. `progress` (...) is by
        default 0.
        """
        parts = self.input_parts(latents, actions, ticks, restart, progress)
        return torch.cat([part.to(latents.dtype) for part in parts], dim=-1)

    def input_parts(
        self, latents: Tensor, actions: Tensor, ticks: Tensor, restart: Tensor | None = None,
        progress: Tensor | None = None,
    ) -> list[Tensor]:  # fmt: skip
        """The parts of the inputs (..., n) that `assemble` joins."""
        parts = [self.select_modelled(latents), actions]
        if self.config.restart:
            parts.append((ticks == 0 if restart is None else restart)[..., None])
        if self.config.clock:
            parts.append((ticks[..., None] / self.config.clock).clamp(max=1.0).sqrt())
        if self.config.progress:
            left = 1 - (torch.zeros_like(ticks, dtype=torch.float32) if progress is None else progress)
            parts.append(left[..., None].clamp(0, 1).sqrt())  # the root is steep near the goal
        return parts

    # --- whole sequences, for training --------------------------------------------------------------

    @abstractmethod
    def forward(self, inputs: Tensor, recurrent: Recurrent) -> tuple[Tensor, Recurrent]:
        """Inputs (T, B, I) -> raw outputs (T, B, O), see `split`, and the recurrent state after the last step."""

    @abstractmethod
    def split(self, outputs: Tensor) -> Any:
        """Raw outputs (..., O) as a prediction (views)."""

    def see_next(self, prediction: Any, latents: Tensor) -> Any:
        """The prediction when the next latents (..., Z) are known, for a kind whose reward depends on them."""
        return prediction

    @abstractmethod
    def nll(self, prediction: Any, latents: Tensor) -> Tensor:
        """-log p in nats of each modelled dimension of next latents (..., Z): (..., N), or (..., 1) for all jointly."""

    @abstractmethod
    def weights(self, prediction: Any, latents: Tensor) -> Tensor:
        """Mixture weights (..., K, N) of each modelled dimension, or (..., K, 1) for all jointly, in [0, 1].

        `latents` (..., Z) are the next ones, for a kind whose weights depend on those drawn before.
        """

    def loss(
        self, prediction: Any, latents: Tensor, terminated: Tensor, has_next: Tensor, valid: Tensor,
        rewards: Tensor | None = None, reward_weight: float = 1.0,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """(NLL, BCE, loss) of a window; see `memory_loss`."""
        nll = self.nll(prediction, latents).sum(-1) / len(self.modelled)  # (T, B)
        weight = self.config.termination_weight
        return memory_loss(nll, prediction, terminated, has_next, valid, weight, rewards, reward_weight)

    # --- one step, for dreams -----------------------------------------------------------------------

    @torch.no_grad()
    def step(
        self, latents: Tensor, action: Tensor, ticks: Tensor, recurrent: Recurrent, progress: Tensor | None = None
    ) -> tuple[Any, Recurrent]:
        """One step without gradients, from latents (B, Z), action (B, A), the ticks and the progress (B,) so far, and
        the recurrent state.

        Returns the prediction and the new recurrent state. The prediction can be a view of a buffer that the next call
        overwrites.
        """
        inputs = self.assemble(latents, action, ticks, progress=progress)  # (B, I)
        outputs, recurrent = self(inputs[None], recurrent)
        return self.split(outputs[0]), recurrent

    @abstractmethod
    def sample(self, prediction: Any, temperature: Tensor, noise: Noise) -> Tensor:
        """Draw next latents (B, Z) within `LATENT_LIMIT`, at `temperature` (B, 1) or (1, 1)."""

    def termination_probability(self, logit: Tensor) -> Tensor:
        """Calibrated probability of termination, from its logit; this undoes the `termination_weight` of the loss."""
        return torch.sigmoid(logit - math.log(self.config.termination_weight))

    @abstractmethod
    def shift_termination(self, shift: float) -> None:
        """Add `shift` to the logit of every termination."""

    def share(self) -> Self:
        """A copy that shares the weights, but no buffer that `step` writes to."""
        return copy.copy(self)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device
