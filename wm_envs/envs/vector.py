"""What the batched dream and the batched real game share: spaces, checks and the autoreset modes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from wm_envs.envs.spaces import action_space, game_actions, observation_space, one_of, options_of_reset
from wm_envs.errors import InvalidOption, ResetNeeded
from wm_envs.models.bundle import load_world
from wm_envs.models.world_model import WorldModel

Mask = NDArray[np.bool_]


class Lanes(NamedTuple):
    """What one step gave each lane."""

    rewards: NDArray[np.float64]
    terminated: Mask
    truncated: Mask
    infos: dict[str, Any]


class LatentVectorEnv(gym.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` lanes of one world. A subclass says how lanes begin, advance and look.

    `autoreset_mode` is NEXT_STEP (default), SAME_STEP (infos["final_obs"]) or DISABLED (reset with
    options={"reset_mask": mask}).
    """

    reset_options: tuple[str, ...] = ("reset_mask",)

    def __init__(
        self, model: WorldModel, num_envs: int, max_episode_steps: int | None, observation: str, actions: str,
        render_mode: str | None, autoreset_mode: AutoresetMode | str,
    ) -> None:  # fmt: skip
        one_of("render_mode", render_mode, (None, "rgb_array"))
        self.num_envs = check_count("num_envs", num_envs)
        self.autoreset_mode = check_autoreset(autoreset_mode)
        self._model, self._observation, self._actions = model, observation, actions
        self.render_mode = render_mode
        self.single_observation_space = observation_space(model, observation)
        self.single_action_space = action_space(model.task, actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        fps = frames_per_second(model)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps, "autoreset_mode": self.autoreset_mode}
        self._limit = model.task.tick_limit
        if max_episode_steps is not None:
            check_count("max_episode_steps", max_episode_steps)
            self._limit = min(self._limit, max_episode_steps * model.config.frame_skip)
        self._done = np.ones(num_envs, bool)  # lanes whose episode is over
        self._began = False

    # --- for the subclass ------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self, mask: Mask) -> None:
        """Begin new episodes on the masked lanes, drawing on the env's own random numbers."""

    @abstractmethod
    def _advance(self, game_action: NDArray[np.float32], idle: Mask) -> Lanes:
        """One step with actions (B, A); what happens to `idle` lanes, whose episode is over, is ignored."""

    @abstractmethod
    def _frames(self) -> NDArray[np.uint8]:
        """A fresh array of frames (B, 64, 64, 3)."""

    @abstractmethod
    def _features(self) -> NDArray[np.float32]:
        """A fresh array of features (B, F)."""

    # --- for everyone ----------------------------------------------------------------------------------

    @property
    def world(self) -> WorldModel:
        """The world of V and M."""
        return self._model

    def _check_reset(self, options: object) -> tuple[dict[str, Any], Mask]:
        """The options of a reset, and the mask of lanes to begin; nothing is changed yet."""
        chosen = options_of_reset(options, self.reset_options)
        mask = check_mask(chosen.pop("reset_mask", None), self.num_envs)
        if not self._began and not mask.all():
            raise ResetNeeded("reset_mask", mask, "lanes that have begun", "call env.reset() for all lanes first")
        return chosen, mask

    def _finish_reset(self, mask: Mask) -> tuple[NDArray[Any], dict[str, Any]]:
        self._done[mask] = False
        self._began = True
        return self._observe(), {}

    def _observe(self) -> NDArray[Any]:
        return self._frames() if self._observation == "pixels" else self._features()

    def step(self, actions: Any) -> tuple[NDArray[Any], NDArray[np.float64], Mask, Mask, dict[str, Any]]:
        """One step of every lane."""
        if not self._began or (self.autoreset_mode == AutoresetMode.DISABLED and self._done.any()):
            over = "no episode has begun" if not self._began else f"lanes {np.flatnonzero(self._done)} are over"
            raise ResetNeeded("step", over, "running lanes", "call env.reset()")
        game_action = game_actions(self._model.task, self._actions, actions, self.num_envs)
        idle = self._done
        rewards, terminated, truncated, infos = self._advance(game_action, idle)
        truncated &= ~terminated
        for values in (rewards, terminated, truncated):
            values[idle] = 0
        self._done = terminated | truncated
        if self.autoreset_mode == AutoresetMode.NEXT_STEP and idle.any():
            self._begin(idle)  # this step begins the next episode of lanes that were over
        elif self.autoreset_mode == AutoresetMode.SAME_STEP and self._done.any():
            infos = {**infos, **_final(self._observe(), self._done, infos)}
            self._begin(self._done)
            self._done = np.zeros(self.num_envs, bool)
        return self._observe(), rewards, terminated, truncated, infos

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """One frame (64, 64, 3) uint8 a lane."""
        return tuple(self._frames()) if self.render_mode == "rgb_array" else None


def _final(observations: NDArray[Any], done: Mask, infos: dict[str, Any]) -> dict[str, Any]:
    final = np.full(len(done), None, dtype=object)
    for lane in np.flatnonzero(done):
        final[lane] = observations[lane]
    last = {name: value & done if name.startswith("_") else value for name, value in infos.items()}
    return {"final_obs": final, "_final_obs": done.copy(), "final_info": last, "_final_info": done.copy()}


def open_world(world: Any, device: Any, termination: str | None = None) -> WorldModel:
    """A world by name or path on a device that exists; raises `InvalidOption` or what `load_world` does."""
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InvalidOption("device", device, "a device of this machine", 'pass device="cpu"') from error
    if termination is not None:
        one_of("termination", termination, ("sampled", "threshold"))
    return load_world(world, place, {} if termination is None else {"termination": termination})


def frames_per_second(world: WorldModel) -> float:
    """Steps of a world in a second of its game."""
    return world.task.ticks_per_second / world.config.frame_skip


def check_count(field: str, value: object) -> int:
    """A whole number of at least 1; raises `InvalidOption`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOption(field, value, "a whole number of at least 1", f"pass {field}=64, say")
    return value


def check_autoreset(value: object) -> AutoresetMode:
    """A mode, by member or value; raises `InvalidOption`."""
    try:
        return AutoresetMode(value)
    except ValueError as error:
        modes = [mode.value for mode in AutoresetMode]
        raise InvalidOption("autoreset_mode", value, f"one of {modes}", "pass AutoresetMode.NEXT_STEP") from error


def check_mask(mask: object, lanes: int) -> Mask:
    """A copy of a reset mask, all lanes for None; raises `InvalidOption`."""
    if mask is None:
        return np.ones(lanes, bool)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (lanes,) or not mask.any():
        expected = f"a bool array of shape ({lanes},) with a True in it"
        raise InvalidOption("reset_mask", mask, expected, "mark the lanes to reset")
    return mask.copy()
