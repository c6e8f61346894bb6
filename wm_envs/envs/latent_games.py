"""B real games in this process, observed through one batch of V and M."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_envs.envs.engine import Mask, StepResult
from wm_envs.games.base import FRAME_SHAPE, Array, Game, Tick
from wm_envs.models.world_model import WorldModel

OnTick = Callable[[int, Array, Tick], None]  # environment, the game's action, the result


class LatentGames:
    """B real games in lockstep; an `Engine`. A dream can continue from its `state`.

    Latents are drawn from V's posterior, as in the paper and as in M's training. Each game has its own generator, so an
    episode depends only on its seed (except for rounding, which can differ between batch sizes).

    `games` are opened games of the world. `on_tick(env, action, tick)`, if given, is called after every tick, and every
    tick is drawn; otherwise only the last frame of a step is drawn. With `curious`, M's surprise is the reward.
    """

    def __init__(
        self, world: WorldModel, games: Sequence[Game], on_tick: OnTick | None = None, curious: bool = False
    ) -> None:
        self.world, self.games, self.on_tick, self.curious = world, list(games), on_tick, curious
        num_envs = len(self.games)
        self.envs = torch.arange(num_envs)
        self.generators = [torch.Generator() for _ in range(num_envs)]
        self.state = world.state_from_latents(torch.zeros(num_envs, world.config.memory.latent))
        self.running: Mask = np.zeros(num_envs, bool)
        self._frames = np.zeros((num_envs, *FRAME_SHAPE), np.uint8)
        self._prediction: Any = None  # M's for the last step

    def reset(self, mask: Mask, seeds: Sequence[int]) -> None:
        """Start episodes where `mask` (B,) is True, with `seeds` in order. The other games do not change."""
        envs = np.flatnonzero(mask).tolist()
        for env, seed in zip(envs, seeds, strict=True):
            self._frames[env] = self.games[env].reset(int(seed))
            self.generators[env].manual_seed(int(seed))
            self.running[env] = True
        fresh = self.world.state_from_latents(self._encode(envs))
        self.state.put(torch.from_numpy(mask).to(self.world.device), fresh)

    def step(self, actions: NDArray[np.float32]) -> StepResult:
        """One step of `frame_skip` ticks with actions (B, A), values of `Actions.to_game`. Rewards are float64.

        Infos: `ticks` (B,).

        Games that are not running do not change. A terminated game keeps its last frame and latents.
        """
        skip = self.world.config.frame_skip
        rewards, costs = np.zeros((2, len(self.games)), np.float32)
        terminated, truncated = np.zeros((2, len(self.games)), bool)
        running = np.flatnonzero(self.running)
        self._prediction, recurrent = self.world.predict(self.state, torch.from_numpy(actions).to(self.world.device))
        for env in running:
            tick = self._advance(int(env), actions[env], skip)
            rewards[env], costs[env] = tick.reward, tick.cost
            terminated[env], truncated[env] = tick.terminated, tick.truncated
            if tick.frame is not None:
                self._frames[env] = tick.frame
        alive = running[~terminated[running]]
        latents = self.state.latents.clone()
        if len(alive):
            latents[alive] = self._encode(list(alive))
        self.running &= ~(terminated | truncated)
        self.state = self.world.next_state(self.state, latents, recurrent, torch.from_numpy(rewards + costs))
        ticks = self.state.ticks.cpu().numpy()
        if self.curious:
            rewards = self.surprise
        return StepResult(rewards.astype(np.float64), terminated, truncated, {"ticks": ticks})

    @property
    def surprise(self) -> Array:
        """M's surprise about the latents of the last step (B,); 0 after a reset and where no episode is running."""
        if self._prediction is None:
            return np.zeros(len(self.games), np.float32)
        nats = self.world.surprise(self._prediction, self.state.latents)
        return np.where(self.running & (self.state.ticks > 0).cpu().numpy(), nats.cpu().numpy(), np.float32(0))

    def observe(self, observation: str) -> Tensor:
        """Features (B, F)."""
        return self.world.observe(self.state, observation)

    def frames(self) -> NDArray[np.uint8]:
        """The games' frames, (B, 64, 64, 3) uint8."""
        return self._frames.copy()

    def drop_finished(self) -> None:
        """Does nothing: a finished game costs nothing."""

    def _advance(self, env: int, action: Array, ticks: int) -> Tick:
        if self.on_tick is None:
            return self.games[env].advance(action, ticks)
        reward = cost = 0.0
        for played in range(1, ticks + 1):  # noqa: B007 (used after the loop)
            tick = self.games[env].advance(action, 1)
            self.on_tick(env, action, tick)
            reward, cost = reward + tick.reward, cost + tick.cost
            if tick.over:
                break
        return Tick(tick.frame, reward, tick.terminated, played, cost, tick.truncated)

    def _encode(self, envs: list[int]) -> Tensor:
        mean, logvar = self.world.encode(torch.from_numpy(self._frames[envs]))
        normal = torch.stack([torch.randn(mean.shape[1], generator=self.generators[env]) for env in envs])
        return self.world.draw_latents(mean, logvar, normal)

    def close(self) -> None:
        """Close every game. May be called twice."""
        games, self.games = self.games, []
        for game in games:
            game.close()
