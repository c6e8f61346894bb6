"""A batched environment of one as an ordinary Gymnasium environment: what the dream and the real game share."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from wm_envs.envs.checks import reset_options
from wm_envs.envs.construction import Constructed
from wm_envs.envs.spaces import game_actions
from wm_envs.envs.vector import LatentVectorEnv
from wm_envs.envs.window import Window
from wm_envs.games.base import PLAY_KEYS, Info, Options
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel


class LatentEnv(Constructed, gym.Env[Any, Any]):
    """A `LatentVectorEnv` of one environment and autoreset mode DISABLED, without its batch axis."""

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 35}  # noqa: RUF012 (Gymnasium's way)
    reset_options: tuple[str, ...] = ()

    def __init__(self, vector: LatentVectorEnv, render_mode: str | None) -> None:
        self._vector = vector
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        self.render_mode = render_mode
        self.metadata = type(self).metadata | {"render_fps": vector.metadata["render_fps"]}
        self.step_limit = vector.step_limit
        self._window = Window(self.world.task.title, self.metadata["render_fps"], vector.render_size or 512)

    @property
    def world(self) -> WorldModel:
        """The world model: V and M."""
        return self._vector.world

    @property
    def state(self) -> State:
        """A copy of the current State, a batch of one; give it to a dream's `reset(options={"state": ...})`."""
        return self._vector.state

    def reset(self, *, seed: int | None = None, options: Options | None = None) -> tuple[Any, Info]:
        """Begin an episode; `options` may hold what `reset_options` names."""
        reset_options(options, self.reset_options)
        observation, infos = self._vector.reset(seed=seed, options=options)
        self._np_random, self._np_random_seed = self._vector.np_random, self._vector.np_random_seed
        self._show()
        return observation[0], _first(infos)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """One step of `frame_skip` ticks."""
        game_action = game_actions(self.world.task, self._vector.action_kind, action, None)
        observation, reward, terminated, truncated, infos = self._vector.advance(game_action[None])
        self._show()
        return observation[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), _first(infos)

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window.show(self._frame())

    def _frame(self) -> NDArray[np.uint8]:
        frames = self._vector.render()
        assert frames is not None
        return frames[0]

    def render(self) -> NDArray[np.uint8] | None:
        """The frame, (64, 64, 3) uint8 or of `render_size` pixels a side; None when it is shown in a window."""
        return self._frame() if self.render_mode == "rgb_array" else None

    def get_keys_to_action(self) -> dict[tuple[str | int, ...], Any]:
        """Keys -> action, for `gymnasium.utils.play`: a, d, w, s or the arrows, two at once where that makes sense.

        `play` takes the action of no key as its argument `noop`.
        """
        actions, kind = self.world.task.actions, self._vector.action_kind
        keys_to_action: dict[tuple[str | int, ...], Any] = {}
        for right, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            action = actions.nearest(kind, np.array(actions.of_keys(right, up), np.float32))
            pressed = [PLAY_KEYS[keys] for keys in ((right, 0), (0, up)) if keys in PLAY_KEYS]
            for keys in zip(*pressed, strict=True):
                keys_to_action[keys] = action if action.ndim else action.item()
        return keys_to_action

    def close(self) -> None:
        """Close the window and the environment. May be called twice."""
        self._window.close()
        self._vector.close()


def _first(infos: Info) -> Info:
    """The infos of the only environment of a batch, as Python's numbers."""
    return {name: values[0].item() for name, values in infos.items() if not name.startswith("_")}
