"""What is played: a dream, or the real game, tick by tick; both are given the same actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from wm_envs.envs.real import RealEnv
from wm_envs.games.base import Array, Tick
from wm_envs.games.registry import get_task
from wm_envs.models.bundle import read_config, resolve
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel


class Side(ABC):
    """One episode after the other. A step is `frame_skip` ticks, which are shown one by one: `frame(phase)`."""

    name = ""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env = env
        self.inner: Any = env.unwrapped
        self.world: WorldModel = env.get_wrapper_attr("world")
        self.total = self.reward = 0.0
        self.ending = ""

    @property
    def state(self) -> State:
        """Where it is, a batch of one."""
        return self.inner.state

    def begin(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode."""
        self.env.reset(seed=seed, options=options)
        self.total = self.reward = 0.0
        self.ending = ""

    def step(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """One step, unless the episode is over; its info."""
        if self.ending:
            self.reward = 0.0
            return {}
        _, reward, terminated, truncated, info = self.env.step(action)
        self.reward = float(reward)
        self.total += self.reward
        self.ending = f"the {self.name} has ended" if terminated else "you reached the limit" if truncated else ""
        return info

    @abstractmethod
    def frame(self, phase: int) -> NDArray[np.uint8]:
        """The picture (64, 64, 3) `phase` ticks into the step, 0 to `frame_skip`."""


class Dream(Side):
    """The dream. M steps many ticks at once; those between are V's decodings of interpolated latents, so what is seen
    runs one step behind what M knows."""

    name = "dream"

    def begin(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode, or go on from options["state"]."""
        super().begin(seed, options)
        self.before = self.after = self.state.latents
        self.termination_probability = 0.0
        self.drawn: tuple[torch.Tensor, int, NDArray[np.uint8]] | None = None  # what was seen last, and when

    def step(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """One step of M."""
        self.before = self.after
        info = super().step(action)
        self.after = self.state.latents
        self.termination_probability = info.get("termination_probability", self.termination_probability)
        return info

    def put(self, latents: torch.Tensor) -> None:
        """Set other latents (1, Z) into the running dream; M's state stays."""
        score, ending = self.total, self.ending
        super().begin(None, {"state": self.state._replace(latents=latents)})
        self.total, self.ending = score, ending
        self.before = self.after = self.state.latents

    def frame(self, phase: int) -> NDArray[np.uint8]:
        """V's picture, kept as long as it is looked at: a paused dream costs nothing, nor does a recorded one twice."""
        if self.drawn is None or self.drawn[0] is not self.after or self.drawn[1] != phase:
            latents = torch.lerp(self.before, self.after, phase / self.world.config.frame_skip)
            self.drawn = self.after, phase, self.world.decode(latents)[0].cpu().numpy()
        return self.drawn[2]


class Game(Side):
    """The real game, every tick of it as V sees it, and how much what happened surprised M."""

    name = "game"

    def __init__(self, world: str) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        fastest = next(reversed(get_task(read_config(resolve(world))["world"]["task"]).renderers), None)
        super().__init__(RealEnv(world, render_mode="rgb_array", renderer=fastest, on_tick=self._on_tick))

    def _on_tick(self, lane: int, action: Array, tick: Tick) -> None:
        if tick.frame is not None:
            self.frames.append(tick.frame.copy())

    def begin(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode."""
        super().begin(seed)
        self.frames = [np.asarray(self.env.render())]
        self.surprise = 0.0

    def step(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """One step of the game."""
        before, self.frames = self.state, self.frames[-1:]
        info = super().step(action)
        if not self.ending:
            game_action = torch.from_numpy(self.world.task.game_action(action[None])).to(self.world.device)
            prediction, *_ = self.world.predict(before, game_action)
            nll = self.world.memory.nll(prediction, self.state.latents).sum() / self.world.config.memory.latent
            self.surprise = float(nll)  # nats a dimension
        return info

    def frame(self, phase: int) -> NDArray[np.uint8]:
        """The game's picture."""
        return self.frames[min(phase, len(self.frames) - 1)]
