"""Views of the player: a dream or the real game, shown tick by tick."""

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


class View(ABC):
    """One environment that is played. A step is `frame_skip` ticks; `frame(phase)` shows them one by one."""

    name = ""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env = env
        self.inner: Any = env.unwrapped
        self.world: WorldModel = env.get_wrapper_attr("world")
        self.total = self.reward = 0.0
        self.ending = ""

    @property
    def state(self) -> State:
        """The current State, a batch of one."""
        return self.inner.state

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode."""
        self.env.reset(seed=seed, options=options)
        self.total = self.reward = 0.0
        self.ending = ""

    def step(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """One step with the agent's action (A,); returns its info. Does nothing once the episode has ended."""
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
        """The frame (64, 64, 3) uint8 after `phase` ticks of the step, 0 to `frame_skip`."""


class DreamView(View):
    """The dream. A step of M covers several ticks; frames in between decode interpolated latents.

    The picture is therefore one step behind M's state.
    """

    name = "dream"

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode, or continue from options["state"]."""
        super().reset(seed, options)
        self.before = self.after = self.state.latents
        self.termination_probability = 0.0
        self._decoded: tuple[torch.Tensor, int, NDArray[np.uint8]] | None = None  # latents, phase, frame

    def step(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """One step of M."""
        self.before = self.after
        info = super().step(action)
        self.after = self.state.latents
        self.termination_probability = info.get("termination_probability", self.termination_probability)
        return info

    def set_latents(self, latents: torch.Tensor) -> None:
        """Replace the latents (1, Z) of the running dream. M's recurrent state stays the same."""
        score, ending = self.total, self.ending
        super().reset(None, {"state": self.state._replace(latents=latents)})
        self.total, self.ending = score, ending
        self.before = self.after = self.state.latents

    def frame(self, phase: int) -> NDArray[np.uint8]:
        """The decoded frame. It is cached, so that a paused or recorded dream is not decoded again."""
        if self._decoded is None or self._decoded[0] is not self.after or self._decoded[1] != phase:
            latents = torch.lerp(self.before, self.after, phase / self.world.config.frame_skip)
            self._decoded = self.after, phase, self.world.decode(latents)[0].cpu().numpy()
        return self._decoded[2]


class GameView(View):
    """The real game, with the frame of every tick, and M's prediction error (`surprise`)."""

    name = "game"

    def __init__(self, world: str) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        fastest = next(reversed(get_task(read_config(resolve(world))["world"]["task"]).renderers), None)
        super().__init__(RealEnv(world, render_mode="rgb_array", renderer=fastest, on_tick=self._on_tick))

    def _on_tick(self, env: int, action: Array, tick: Tick) -> None:
        if tick.frame is not None:
            self.frames.append(tick.frame.copy())

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode; `options` are ignored."""
        super().reset(seed)
        self.frames = [np.asarray(self.env.render())]
        self.surprise = 0.0  # -log p of the last step's latents, in nats per dimension

    def step(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """One step of the game."""
        before, self.frames = self.state, self.frames[-1:]
        info = super().step(action)
        if not self.ending:
            game_action = torch.from_numpy(self.world.task.game_action(action[None])).to(self.world.device)
            prediction, *_ = self.world.predict(before, game_action)
            nll = self.world.memory.nll(prediction, self.state.latents).sum()
            self.surprise = float(nll / self.world.config.memory.latent)
        return info

    def frame(self, phase: int) -> NDArray[np.uint8]:
        """The game's frame."""
        return self.frames[min(phase, len(self.frames) - 1)]
