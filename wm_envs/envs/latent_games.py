"""Several real games in this process, seen through one batch of V and M."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_envs.games.base import FRAME_SHAPE, Array, Tick
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel

OnTick = Callable[[int, Array, Tick], None]  # lane, action as executed, what came of it


class LatentGames:
    """B real games in lockstep. `state` is the State that a dream would be in at the same place.

    Latents are drawn from V's posterior, as M was trained and as in the paper, each lane with a
    generator of its own: an episode depends on its seed, not on its neighbours (save for the last
    bits of floating point, which may differ between batch sizes).

    `on_tick(lane, action, tick)`, when given, is told of every single tick, which is then drawn;
    otherwise only the last frame of a step is. `how` is passed on to `Task.open`: drawing and settings.
    """

    def __init__(
        self,
        world: WorldModel,
        batch: int,
        on_tick: OnTick | None = None,
        **how: Any,
    ) -> None:
        self.world, self.on_tick = world, on_tick
        self.games = [world.task.open(**how) for _ in range(batch)]
        self.frames = np.zeros((batch, *FRAME_SHAPE), np.uint8)
        self.generators = [torch.Generator() for _ in range(batch)]
        self.state = world.begin(torch.zeros(batch, world.config.memory.latent))
        self.running = np.zeros(batch, bool)

    def reset(self, lanes: Sequence[int], seeds: Sequence[int]) -> None:
        """Start the episodes `seeds` on `lanes`; the other lanes stay as they are."""
        for lane, seed in sorted(zip(lanes, seeds, strict=True)):
            self.frames[lane] = self.games[lane].reset(int(seed))
            self.generators[lane].manual_seed(int(seed))
            self.running[lane] = True
        mask = torch.zeros(len(self.games), dtype=torch.bool, device=self.world.device)
        mask[list(lanes)] = True
        fresh = self.world.begin(self._encode(sorted(lanes)))
        self.state.put(mask, fresh)

    def step(self, game_action: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """One step of `frame_skip` ticks with actions (B, A) as the game executes them.

        Returns the rewards (B,) and which games have terminated (B,). Lanes that are not running
        are left alone. A terminated lane keeps its last frame and latents.
        """
        skip = self.world.config.frame_skip
        rewards = np.zeros(len(self.games), np.float32)
        terminated = np.zeros(len(self.games), bool)
        running = np.flatnonzero(self.running)
        _, hidden, cell = self.world.predict(self.state, torch.from_numpy(game_action).to(self.world.device))
        for lane in running:
            tick = self._advance(int(lane), game_action[lane], skip)
            rewards[lane], terminated[lane] = tick.reward, tick.terminated
            if tick.frame is not None:
                self.frames[lane] = tick.frame
        alive = running[~terminated[running]]
        latents = self.state.latents.clone()
        if len(alive):
            latents[alive] = self._encode(list(alive))
        self.running &= ~terminated
        self.state = State(latents, hidden, cell, self.state.ticks + skip)
        return rewards, terminated

    def _advance(self, lane: int, action: Array, ticks: int) -> Tick:
        if self.on_tick is None:
            return self.games[lane].advance(action, ticks)
        reward = 0.0
        for played in range(1, ticks + 1):  # noqa: B007 (used after the loop)
            tick = self.games[lane].advance(action, 1)
            self.on_tick(lane, action, tick)
            reward += tick.reward
            if tick.terminated:
                break
        return Tick(tick.frame, reward, tick.terminated, played)

    def _encode(self, lanes: list[int]) -> Tensor:
        mean, logvar = self.world.encode(torch.from_numpy(self.frames[lanes]))
        normal = torch.stack([torch.randn(mean.shape[1], generator=self.generators[lane]) for lane in lanes])
        return self.world.draw_latents(mean, logvar, normal)

    def close(self) -> None:
        """Close every game. May be called twice."""
        games, self.games = self.games, []
        for game in games:
            game.close()
