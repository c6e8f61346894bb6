"""Views of the player: a dream or the real game, shown tick by tick."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from player.guides import guide_of
from player.saver import EpisodeSaver
from wm_envs.envs.real import RealEnv
from wm_envs.games.base import Array, Tick
from wm_envs.games.registry import get_task
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import read_config, resolve

PLOTTED = 6  # seconds of `history`
UNIT_NORMAL = 1.42  # nats per dimension of a prediction that knows nothing: the entropy of a standard normal
DARK, MOSTLY = 30, 0.4  # a pixel is black below DARK of 255; a frame of more than MOSTLY black pixels is black


class View(ABC):
    """One environment that is played. A step is `frame_skip` ticks; `frame(phase)` shows them one by one."""

    name = ""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env = env
        self.inner: Any = env.unwrapped
        self.world: WorldModel = env.get_wrapper_attr("world")
        self.guide = guide_of(self.world.task)
        steps = PLOTTED * self.world.task.timing.ticks_per_second // self.world.config.frame_skip
        self.history: deque[float] = deque(maxlen=max(steps, 2))  # danger or surprise of the last steps
        self._clear()

    def _clear(self) -> None:
        self.total = self.reward = 0.0
        self.ending = ""
        self.action: NDArray[np.float32] | None = None  # the agent's last action (A,)
        self.lost_steps = 0  # steps in a row whose last frame shows no way back
        self.history.clear()

    @property
    def state(self) -> State:
        """The current State, a batch of one."""
        return self.inner.state

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode."""
        self.env.reset(seed=seed, options=options)
        self._clear()

    def step(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """One step with the agent's action (A,); returns its info. Does nothing once the episode has ended."""
        if self.ending:
            self.reward = 0.0
            return {}
        _, reward, terminated, truncated, info = self.env.step(action)
        self.action, self.reward = action, float(reward)
        self.total += self.reward
        if terminated or truncated:
            self.ending = self.guide.ending(self.reward) if terminated else self.guide.limit
        return info

    @property
    def instruments(self) -> dict[str, float]:
        """What the game itself shows beside its picture; a dream has no such thing."""
        return {}

    def look(self) -> None:
        """Note whether the last frame of the step shows a way back."""
        shown = self.guide.lost(self.frame(self.world.config.frame_skip))
        self.lost_steps = self.lost_steps + 1 if shown else 0

    @property
    def lost(self) -> bool:
        """Whether the frames of the last second showed no way back."""
        return self.lost_steps * self.world.config.frame_skip >= self.world.task.timing.ticks_per_second

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
        self._bright: NDArray[np.uint8] | None = None  # the last frame that was not black

    def step(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """One step of M."""
        self.before = self.after
        info = super().step(action)
        self.after = self.state.latents
        self.termination_probability = info.get("termination_probability", self.termination_probability)
        if info:
            self.history.append(self.termination_probability)
        return info

    def set_latents(self, latents: torch.Tensor) -> None:
        """Replace the latents (1, Z) of the running dream. M's recurrent state stays the same."""
        score = self.total
        super().reset(None, {"state": self.state._replace(latents=latents)})  # a dream that has ended goes on
        self.total = score
        self.before = self.after = self.state.latents

    def frame(self, phase: int) -> NDArray[np.uint8]:
        """The decoded frame. It is cached, so that a paused or recorded dream is not decoded again."""
        if self._decoded is None or self._decoded[0] is not self.after or self._decoded[1] != phase:
            latents = torch.lerp(self.before, self.after, phase / self.world.config.frame_skip)
            self._decoded = self.after, phase, self._lit(self.world.decode(latents)[0].cpu().numpy())
        return self._decoded[2]

    def _lit(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame; at the end of an episode, the last one that was not black (a car leaves its field into black)."""
        if (frame.max(axis=-1) < DARK).mean() <= MOSTLY:
            self._bright = frame
        return frame if self._bright is None or not self.ending else self._bright


def _held_out_nll(world: str) -> float:
    """M's mean prediction error on held-out episodes, from the world's card, in nats per dimension."""
    card = read_config(resolve(world)).get("card")
    memory = card.get("memory") if isinstance(card, dict) else None
    nll = memory.get("nll") if isinstance(memory, dict) else None
    return float(nll) if isinstance(nll, int | float) else UNIT_NORMAL


class GameView(View):
    """The real game, with the frame of every tick, and M's prediction error (`surprise`).

    With `save`, a run folder, its episodes are saved there.
    """

    name = "game"

    def __init__(self, world: str, save: str | None = None) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        self.saver: EpisodeSaver | None = None
        fastest = get_task(read_config(resolve(world))["world"]["task"]).fast_renderer
        shown = {"render_mode": "rgb_array", "renderer": fastest, "on_tick": self._on_tick}
        super().__init__(RealEnv(world, actions="continuous", **shown))  # type: ignore[arg-type]
        self.typical_surprise = _held_out_nll(world)
        if save is not None:
            self.saver = EpisodeSaver(save, self.world.task)

    def _on_tick(self, env: int, action: Array, tick: Tick) -> None:
        if self.saver:
            self.saver.add(action, tick)
        if tick.frame is not None:
            self.frames.append(tick.frame.copy())

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode; `options` are ignored."""
        super().reset(seed)
        self.frames = [np.asarray(self.env.render())]
        if self.saver:
            self.saver.begin(self.frames[0])
        self.surprise = 0.0  # -log p of the last step's latents, in nats per dimension

    def close(self) -> None:
        """Save the episode that is under way, if episodes are saved, and close the game."""
        if self.saver:
            self.saver.finish()
        self.env.close()

    @property
    def instruments(self) -> dict[str, float]:
        """The game's own instruments."""
        return self.inner.instruments

    def step(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """One step of the game."""
        before, self.frames = self.state, self.frames[-1:]
        info = super().step(action)
        if not self.ending:
            game_action = torch.from_numpy(self.world.task.actions.to_game(action[None])).to(self.world.device)
            prediction, *_ = self.world.predict(before, game_action)
            self.surprise = float(self.world.surprise(prediction, self.state.latents))
            self.history.append(self.surprise)
        return info

    def frame(self, phase: int) -> NDArray[np.uint8]:
        """The game's frame."""
        return self.frames[min(phase, len(self.frames) - 1)]
