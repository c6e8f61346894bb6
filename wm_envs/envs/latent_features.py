"""LatentFeatures: a wrapper that shows any copy of a world's game as V's latents and M's hidden state."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wm_envs.envs.checks import open_world
from wm_envs.envs.latent_games import LatentGames
from wm_envs.envs.spaces import observation_space
from wm_envs.errors import InvalidAction, InvalidOption, ResetNeeded
from wm_envs.games.base import Array, Frame, Info, Options, Task, Tick, load
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
        check_env_of(self.world.task, env)
        self._observation = observation
        self.observation_space = observation_space(self.world, observation)
        self._game = _OpenedEnv(self.world.task, env)
        self._engine = LatentGames(self.world, [self._game])

    @property
    def state(self) -> State:
        """A copy of the current State, a batch of one; give it to a dream's `reset(options={"state": ...})`."""
        return self._engine.state.clone()

    def reset(self, *, seed: int | None = None, options: Options | None = None) -> tuple[Any, Info]:
        """Begin an episode; the latents are drawn with `seed`, too."""
        info = self._game.begin(seed, options)
        drawn = int(self.env.unwrapped.np_random.integers(2**31)) if seed is None else seed
        self._engine.reset(np.ones(1, bool), [drawn])
        return self._observe(), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """Hold `action`, one of the action space of `env`, for a step of the world."""
        if not self._engine.running[0]:
            raise ResetNeeded("step", "no running episode", "a running episode", "call env.reset()")
        self._game.action = action
        self._engine.step(vector_of(self.world.task, self.env.action_space, action)[None])
        return self._observe(), *self._game.ended

    def _observe(self) -> NDArray[Any]:
        if self._observation == "pixels":
            return self._engine.frames()[0]
        return self._engine.observe(self._observation)[0].cpu().numpy()


class _OpenedEnv:
    """The `Game` around an environment that exists already, with the actions of its own action space."""

    finished = False

    def __init__(self, task: Task, env: gym.Env[Any, Any]) -> None:
        self.task, self.env, self._frame_of = task, env, load(task.env_frame)
        self.action: Any = None  # of the next step
        self.ended: tuple[float, bool, bool, Info] = (0.0, False, False, {})  # reward and so on of a step

    def begin(self, seed: int | None, options: Options | None) -> Info:
        """Reset the environment; returns its info."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.frame: Frame = self._frame_of(self.task, self.env, observation)
        return info

    def reset(self, seed: int) -> Frame:
        """The first frame of the episode that has begun."""
        return self.frame

    def advance(self, action: Array, ticks: int) -> Tick:
        """Hold `self.action`."""
        total = 0.0
        for played in range(1, ticks + 1):  # noqa: B007 (used after the loop)
            observation, reward, terminated, truncated, info = self.env.step(self.action)
            total += float(reward)
            if terminated or truncated:
                break
        self.ended = total, bool(terminated), bool(truncated), info
        frame = None if terminated else self._frame_of(self.task, self.env, observation)
        return Tick(frame, total, bool(terminated), played, truncated=bool(truncated and not terminated))

    def close(self) -> None:
        """Does nothing: the wrapper closes the environment."""


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
