"""The real game seen through V and M: the same spaces as its dream."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from wm_envs.envs.latent_games import LatentGames, OnTick
from wm_envs.envs.single import LatentEnv
from wm_envs.envs.spaces import RENDER_MODES, game_kwargs, one_of
from wm_envs.envs.vector import Lanes, LatentVectorEnv, Mask, open_world
from wm_envs.errors import InvalidOption
from wm_envs.models.state import State


class RealVectorEnv(LatentVectorEnv):
    """`num_envs` real games in this process, seen through one batch of V and M.

    Observations, actions, rewards and episodes are those of `DreamVectorEnv`; lane i of a reset with
    seed s plays the game's episode s + i. For the autoreset modes see `LatentVectorEnv`. `renderer` is one
    of the task's ways to draw, by default the one that scores are measured with; `settings` are the task's (CarRacing:
    lap_complete_percent, off_road_cost). `on_tick(lane, action, tick)` is told of every tick, which is then drawn.
    """

    def __init__(
        self, num_envs: int = 1, max_episode_steps: int | None = None, world: str = "takecover",
        observation: str = "zh", actions: str = "continuous", device: str = "cpu", render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP, renderer: str | None = None,
        on_tick: OnTick | None = None, **settings: float,
    ) -> None:  # fmt: skip
        model = open_world(world, device)
        how = game_kwargs(model.task, renderer, settings)
        super().__init__(model, num_envs, max_episode_steps, observation, actions, render_mode, autoreset_mode)
        self._games = LatentGames(model, num_envs, on_tick, **how)

    @property
    def state(self) -> State:
        """Where dreams of the same moment would be; give it to `reset(options={"state": ...})` of a dream of this
        world, and reality is dreamt on from there."""
        return State(*(value.clone() for value in self._games.state))

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes on all lanes, or on those of options["reset_mask"]; `seed` may be a list."""
        _, mask = self._check_reset(options)
        if isinstance(seed, list | tuple):
            seeds = list(seed)
        else:
            seeds = [seed + i if type(seed) is int else seed for i in range(self.num_envs)]
        whole = all(s is None or (type(s) is int and s >= 0) for s in seeds)
        if not whole or len(seeds) != self.num_envs:
            expected = f"None, a whole number of at least 0, or a list of {self.num_envs} of these"
            raise InvalidOption("seed", seed, expected, "pass seed=0, say")
        super().reset(seed=seeds[0])
        self._begin(mask, seeds)
        return self._finish_reset(mask)

    def _begin(self, mask: Mask, seeds: list[int | None] | None = None) -> None:
        lanes = np.flatnonzero(mask).tolist()
        drawn = self.np_random.integers(2**31, size=len(lanes)).tolist()
        given = [seeds[lane] if seeds else None for lane in lanes]
        self._games.reset(lanes, [d if g is None else g for d, g in zip(drawn, given, strict=True)])

    def _advance(self, game_action: NDArray[np.float32], idle: Mask) -> Lanes:
        self._games.running &= ~idle
        rewards, terminated = self._games.step(game_action)
        ticks = self._games.state.ticks.cpu().numpy()
        return Lanes(rewards.astype(np.float64), terminated, ticks >= self._limit, {})

    def _frames(self) -> NDArray[np.uint8]:
        return self._games.frames.copy()

    def _features(self) -> NDArray[np.float32]:
        return self._model.observe(self._games.state, self._observation).cpu().numpy()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the games."""
        self._games.close()


class RealEnv(LatentEnv):
    """The real game as latent features: a `RealVectorEnv` of one lane.

    Sees, does and gets what `DreamEnv` documents; an episode ends when the game does, and is
    truncated at the game's limit. `reset(seed=s)` plays the game's episode s.
    """

    _lane: RealVectorEnv

    def __init__(
        self, world: str = "takecover", observation: str = "zh", actions: str = "continuous", device: str = "cpu",
        render_mode: str | None = None, renderer: str | None = None, on_tick: OnTick | None = None, **settings: float,
    ) -> None:  # fmt: skip
        one_of("render_mode", render_mode, RENDER_MODES)
        lane = RealVectorEnv(
            1, None, world, observation, actions, device, "rgb_array", AutoresetMode.DISABLED, renderer, on_tick,
            **settings,
        )  # fmt: skip
        super().__init__(lane, render_mode)

    @property
    def state(self) -> State:
        """Where a dream of the same moment would be, a batch of one; see `RealVectorEnv.state`."""
        return self._lane.state
