"""B dreams of one world in one batch, with one step of M for all of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_envs.envs.engine import Mask, StepResult
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel

DROP_BELOW = 0.8  # terminated dreams are dropped when a smaller fraction than this is running


class Dreams:
    """B dreams in lockstep; an `Engine`.

    All dreams draw from one generator (`seed`), so a dream depends on the seed and on the number of dreams.
    `temperature` is one number or one per dream, (num_envs, 1), and can be changed between steps.

    With `copies` > 1, the batch holds `copies` groups of `num_envs` dreams. Dream i of every group has the same initial
    state and random numbers, so that the candidates of a population are compared on the same dreams.
    """

    def __init__(
        self, world: WorldModel, num_envs: int, temperature: float | Tensor = 1.0, copies: int = 1
    ) -> None:  # fmt: skip
        self.world, self.num_envs = world, num_envs
        self.generator = torch.Generator()
        self.envs = torch.arange(copies * num_envs)
        self.state = world.state_from_latents(
            torch.zeros(len(self.envs), world.config.memory.latent, device=world.device)
        )
        self.running: Mask = np.zeros(len(self.envs), bool)
        self._shared = copies > 1
        self.temperature = temperature

    @property
    def temperature(self) -> float | Tensor:
        """Temperature of the next step, a number or (num_envs, 1)."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float | Tensor) -> None:
        self._temperature = value
        column = torch.as_tensor(value, dtype=torch.float32).reshape(-1, 1).to(self.world.device)
        self._temperatures = column if len(column) == 1 else column.expand(self.num_envs, 1)

    def seed(self, seed: int) -> None:
        """Seed the generator of all dreams."""
        self.generator.manual_seed(seed)

    def reset(self, mask: Mask | None = None, state: State | None = None) -> None:
        """Start new dreams where `mask` (B,) is True (None: everywhere), or continue from `state` (B dreams) there."""
        if mask is None:
            mask = np.ones(len(self.envs), bool)
        chosen = torch.from_numpy(mask).to(self.world.device)
        if state is not None:
            fresh = state.select(chosen)
        elif self._shared:
            assert mask.all(), "dreams that share random numbers begin together"
            fresh = self.world.initial_state(self.num_envs, self.generator).select(self.envs % self.num_envs)
        else:
            fresh = self.world.initial_state(int(mask.sum()), self.generator)
        self.state.put(chosen, fresh)
        self.running[mask] = True

    def step(self, actions: NDArray[np.float32]) -> StepResult:
        """One step of M with actions (B, A), values of `Actions.to_game`. Rewards are float32.

        Infos: `termination_probability` (B,), calibrated, and `ticks` (B,).
        """
        noise, temperatures = self.world.draw_noise(self.num_envs, self.generator), self._temperatures
        if self._shared or len(self.envs) < self.num_envs:
            source = self.envs % self.num_envs
            noise = noise.select(source)
            temperatures = temperatures if len(temperatures) == 1 else temperatures[source]
        game_actions = torch.from_numpy(actions).to(self.world.device)
        self.state, outcome = self.world.step(self.state, game_actions, noise, temperatures)
        reward, terminated, probability, ticks = (value.cpu().numpy() for value in (*outcome, self.state.ticks))
        self.running &= ~terminated
        infos = {"termination_probability": probability, "ticks": ticks}
        return StepResult(reward, terminated, np.zeros_like(terminated), infos)

    def observe(self, observation: str) -> Tensor:
        """Features (B, F)."""
        return self.world.observe(self.state, observation)

    def frames(self) -> NDArray[np.uint8]:
        """V's decoding of the latents, (B, 64, 64, 3) uint8."""
        return self.world.decode(self.state.latents).cpu().numpy()

    def drop_finished(self) -> None:
        """Drop terminated dreams if less than DROP_BELOW of the batch is running; `envs` holds those that remain."""
        if 0 < self.running.sum() < DROP_BELOW * len(self.running):
            self._keep(torch.from_numpy(self.running))
            self.running = self.running[self.running]

    def _keep(self, running: Tensor) -> None:
        self.state, self.envs = self.state.select(running.to(self.world.device)), self.envs[running]

    def close(self) -> None:
        """Does nothing: a dream holds nothing that must be freed."""
