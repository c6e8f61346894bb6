"""What the batched dream and the batched real game share: spaces, checks and the autoreset modes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from wm_envs.envs.checks import check_autoreset, check_count, check_mask, check_render_size, one_of, reset_options
from wm_envs.envs.construction import Constructed
from wm_envs.envs.engine import Engine, Mask
from wm_envs.envs.spaces import action_kind, action_space, game_actions, observation_space, scaled
from wm_envs.errors import ResetNeeded
from wm_envs.games.base import Info, Options
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel


class LatentVectorEnv(Constructed, gym.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` environments of one world: the Gymnasium shell over an `Engine`, which a subclass makes."""

    reset_options: tuple[str, ...] = ("reset_mask",)
    zero_infos: tuple[str, ...] = ()  # keys of a step's infos, beside "ticks", that are 0 after a reset
    _engine: Engine

    def __init__(
        self, world: WorldModel, num_envs: int, max_episode_steps: int | None, observation: str, actions: str | None,
        render_mode: str | None, autoreset_mode: AutoresetMode | str, render_size: int | None = None,
    ) -> None:  # fmt: skip
        one_of("render_mode", render_mode, (None, "rgb_array"))
        self.render_size = check_render_size(render_size)
        self.num_envs = check_count("num_envs", num_envs)
        self.autoreset_mode = check_autoreset(autoreset_mode)
        self._world, self._observation, self.action_kind = world, observation, action_kind(world.task, actions)
        self.render_mode = render_mode
        self.single_observation_space = observation_space(world, observation)
        self.single_action_space = action_space(world.task, self.action_kind)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        skip, timing = world.config.frame_skip, world.task.timing
        fps = timing.ticks_per_second / skip
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps, "autoreset_mode": self.autoreset_mode}
        self._tick_limit, self.step_limit = timing.tick_limit, timing.steps(skip)
        if max_episode_steps is not None:
            self.step_limit = min(self.step_limit, check_count("max_episode_steps", max_episode_steps))
            self._tick_limit = min(self._tick_limit, self.step_limit * skip)
        self._done = np.ones(num_envs, bool)  # environments whose episode is over
        self._has_reset = False

    # --- for the subclass ------------------------------------------------------------------------------

    @abstractmethod
    def _check_start(self, seed: Any, options: Options) -> Any:
        """Check the seed and options of a reset, changing nothing; returns what `_start` needs of them."""

    @abstractmethod
    def _start(self, mask: Mask, start: Any = None) -> None:
        """Begin new episodes where `mask` is True; `start` is what `_check_start` gave, None for an automatic reset."""

    # --- for everyone ----------------------------------------------------------------------------------

    @property
    def world(self) -> WorldModel:
        """The world model: V and M."""
        return self._world

    @property
    def state(self) -> State:
        """A copy of the State of all environments; see `reset` of the dreams for what it is good for."""
        return self._engine.state.clone()

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: Options | None = None
    ) -> tuple[NDArray[Any], Info]:
        """Begin episodes everywhere, or where options["reset_mask"] (bool, (num_envs,)) is True."""
        chosen = reset_options(options, self.reset_options)
        mask = check_mask(chosen.pop("reset_mask", None), self.num_envs)
        if not self._has_reset and not mask.all():
            raise ResetNeeded(
                "reset_mask", mask, "environments that have begun", "call env.reset() for all of them first"
            )
        start = self._check_start(seed, chosen)
        super().reset(seed=self._one_seed(seed))
        self._start(mask, start)
        self._done[mask] = False
        self._has_reset = True
        return self._observe(), self._reset_infos(mask)

    def _one_seed(self, seed: Any) -> int | None:
        """The seed of `np_random`, from the seeds of a reset."""
        return seed[0] if isinstance(seed, list | tuple) else seed

    def _reset_infos(self, mask: Mask) -> Info:
        """Infos with the keys of a step, for the environments in `mask` that have just begun."""
        infos: Info = {name: np.zeros(self.num_envs, np.float32) for name in self.zero_infos}
        infos["ticks"] = np.where(mask, self._engine.state.ticks.cpu().numpy(), 0)
        return infos | {f"_{name}": mask.copy() for name in infos}

    def step(self, actions: Any) -> tuple[NDArray[Any], NDArray[np.float64], Mask, Mask, Info]:
        """One step of every environment."""
        return self.advance(game_actions(self._world.task, self.action_kind, actions, self.num_envs))

    def _check_running(self) -> None:
        if not self._has_reset or (self.autoreset_mode == AutoresetMode.DISABLED and self._done.any()):
            over = f"environments {np.flatnonzero(self._done)} are over" if self._has_reset else "no episode has begun"
            raise ResetNeeded("step", over, "running episodes", "call env.reset()")

    def advance(self, actions: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.float64], Mask, Mask, Info]:
        """One step of every environment with actions (B, A), values of `Actions.to_game`, which are not checked."""
        self._check_running()
        idle = self._done
        self._engine.running &= ~idle
        result = self._engine.step(actions)
        rewards, terminated = result.rewards.astype(np.float64), result.terminated.copy()
        late = self._engine.state.ticks.cpu().numpy() >= self._tick_limit
        truncated = (late | result.truncated) & ~terminated
        infos: Info = {name: values.copy() for name, values in result.infos.items()}
        infos |= {f"_{name}": ~idle for name in result.infos}
        for values in (rewards, terminated, truncated):
            values[idle] = 0
        self._done = terminated | truncated
        if self.autoreset_mode == AutoresetMode.NEXT_STEP and idle.any():
            self._start(idle)  # this step is the first of the next episode of those that were over
            begun = self._reset_infos(idle)
            infos = {name: np.where(idle, begun[name], values) for name, values in infos.items()}
        elif self.autoreset_mode == AutoresetMode.SAME_STEP and self._done.any():
            infos |= _final(self._observe(), self._done, infos)
            self._start(self._done)
            self._done = np.zeros(self.num_envs, bool)
        return self._observe(), rewards, terminated, truncated, infos

    def _observe(self) -> NDArray[Any]:
        if self._observation == "pixels":
            return self._engine.frames()
        return self._engine.observe(self._observation).cpu().numpy()

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """One frame (64, 64, 3) uint8 for each environment, or of `render_size` pixels a side."""
        return tuple(scaled(self._engine.frames(), self.render_size)) if self.render_mode == "rgb_array" else None

    def close_extras(self, **kwargs: Any) -> None:
        """Close the engine."""
        self._engine.close()


def _final(observations: NDArray[Any], done: Mask, infos: Info) -> Info:
    final = np.full(len(done), None, dtype=object)
    for env in np.flatnonzero(done):
        final[env] = observations[env]
    last = {name: value & done if name.startswith("_") else value for name, value in infos.items()}
    return {"final_obs": final, "_final_obs": done.copy(), "final_info": last, "_final_info": done.copy()}
