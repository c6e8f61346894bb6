"""LatentFeatures: a wrapper that shows any copy of a world's game as V's latents and M's hidden state."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from wm_envs.envs.spaces import observation_space
from wm_envs.envs.vector import open_world
from wm_envs.errors import InvalidAction, InvalidOption, ResetNeeded
from wm_envs.games.base import Array, Frame, Task, load
from wm_envs.models.state import State


class LatentFeatures(gym.Wrapper[Any, Any, Any, Any]):
    """Your own environment with the features of a world: what `WMCarRacing-v0` is for CarRacing-v3, for any instance.

    The action space stays that of `env`, and each action is held for the world's `frame_skip` steps of `env`, whose
    rewards are summed. The observation space is that of the world ("zh", "zch", "z" or "pixels"). Time limits and other
    wrappers of `env` work as before. For the same seed and actions the features are those of the world's real game.

    Raises `InvalidOption` if `env` has another action space than the world's game, or shows no picture of it.

    ## Example

    >>> import gymnasium as gym, wm_envs
    >>> env = wm_envs.LatentFeatures(gym.make("CarRacing-v3"), world="carracing")  # doctest: +SKIP
    """

    def __init__(
        self, env: gym.Env[Any, Any], world: str = "carracing", observation: str = "zh", device: str = "cpu"
    ) -> None:
        super().__init__(env)
        self.world = open_world(world, device)
        self._observation = observation
        self.observation_space = observation_space(self.world, observation)
        check_env_of(self.world.task, env)
        self._see = load(self.world.task.env_frame)
        self._generator = torch.Generator()
        self._state: State | None = None
        self._frame: Frame | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the latents are drawn with `seed`, too."""
        observation, info = self.env.reset(seed=seed, options=options)
        drawn = int(self.env.unwrapped.np_random.integers(2**31)) if seed is None else seed
        self._generator.manual_seed(drawn)
        self._state = self.world.state_from_latents(self._encode(observation))
        return self._observe(), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold `action`, one of the action space of `env`, for a step of the world."""
        if self._state is None:
            raise ResetNeeded("step", "a step before the first reset", "a running episode", "call env.reset()")
        vector = torch.from_numpy(vector_of(self.world.task, self.env.action_space, action))[None]
        _, recurrent = self.world.predict(self._state, vector.to(self.world.device))
        total = 0.0
        for _ in range(self.world.config.frame_skip):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        latents = self._state.latents if terminated else self._encode(observation)
        self._state = self.world.next_state(self._state, latents, recurrent, torch.tensor([total]))
        return self._observe(), total, bool(terminated), bool(truncated), info

    def _encode(self, observation: Any) -> Tensor:
        self._frame = self._see(self.world.task, self.env, observation)
        mean, logvar = self.world.encode(torch.from_numpy(self._frame[None]))
        return self.world.draw_latents(mean, logvar, torch.randn(mean.shape, generator=self._generator))

    def _observe(self) -> NDArray[Any]:
        assert self._state is not None and self._frame is not None
        if self._observation == "pixels":
            return self._frame
        return self.world.observe(self._state, self._observation)[0].cpu().numpy()


def check_env_of(task: Task, env: gym.Env[Any, Any]) -> None:
    """Raise `InvalidOption` unless `env` can be a copy of the game of `task`."""
    if not task.env_frame:
        fix = f"use gym.make({task.real_id!r})"
        raise InvalidOption("world", task.title, "a world of an environment with pictures as observations", fix)
    own = task.actions.own.space if task.actions.own else None
    if own is not None and env.action_space != own:
        raise InvalidOption("env", f"the action space {env.action_space}", str(own), f"give a copy of {task.title}")
    if own is None and (not isinstance(env.action_space, spaces.Box) or env.action_space.shape != (task.actions.size,)):
        expected = f"a Box of shape ({task.actions.size},)"
        fix = f"give a copy of {task.title} with continuous actions"
        raise InvalidOption("env", f"the action space {env.action_space}", expected, fix)


def vector_of(task: Task, space: spaces.Space[Any], action: Any) -> Array:
    """What M sees of an action of the game's own space, (A,); raises `InvalidAction`."""
    values = np.asarray(action, space.dtype)
    if not space.contains(values.item() if values.ndim == 0 else values):
        raise InvalidAction("action", action, f"an action of {space}", "take one from env.action_space.sample()")
    return task.actions.own.encode(values) if task.actions.own else values.astype(np.float32)
