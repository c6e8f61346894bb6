"""The real game behind the CarRacing task: pixels and ticks of Gymnasium's CarRacing, and nothing else."""

from __future__ import annotations

from typing import Any

from wm_envs.errors import InvalidOption, ResetNeeded
from wm_envs.games.base import Array, Frame, Tick
from wm_envs.games.car_racing.dependencies import CarRacing
from wm_envs.games.car_racing.fast_car_racing import RENDERERS, FastCarRacing, checked_action
from wm_envs.games.car_racing.scene import crop

GAME_RENDERERS = ("stock", *RENDERERS)


class CarRacingGame:
    """CarRacing without a time limit; satisfies `wm_envs.games.base.Game`.

    `renderer`: "fast" (the small frame, drawn as such), "exact" or "stock" (the observation of CarRacing-v3,
    cropped and resized). Episodes are those of `gym.make("CarRacing-v3").reset(seed=seed)` with any of them;
    frames of ticks on the way are drawn by "stock" only, and looked at by nobody. `lap_complete_percent`: the share
    of its tiles that makes a lap, as in CarRacing-v3. `off_road_cost`: what a tick costs with no wheel on the road, on
    top of the game's own rewards: a tile that is cut costs the lap its end, far later than a learner looks ahead.
    """

    def __init__(
        self, renderer: str = "fast", lap_complete_percent: float = 0.95, off_road_cost: float = 0.0
    ) -> None:  # fmt: skip
        if renderer not in GAME_RENDERERS:
            raise InvalidOption("renderer", renderer, f"one of {list(GAME_RENDERERS)}", "pass drawing='fast', say")
        lap: dict[str, Any] = {"lap_complete_percent": lap_complete_percent}
        self._env: Any = CarRacing(**lap) if renderer == "stock" else FastCarRacing(renderer, **lap)
        self._cropped, self._off_road_cost = renderer != "fast", off_road_cost
        self.finished = False  # whether the episode's lap has been completed

    def reset(self, seed: int) -> Frame:
        """Start the episode named by `seed`; the same seed gives the same track."""
        self.finished = False
        return self._frame(self._env.reset(seed=int(seed))[0])

    def advance(self, action: Array, ticks: int) -> Tick:
        """Hold `action` ((3,): steer -1..1, gas 0..1, brake 0..1) for `ticks` ticks of 1/50 s."""
        if self._env.car is None:
            raise ResetNeeded("advance", "a tick before the first reset", "reset(seed) first", "call game.reset(0)")
        action = checked_action(self._env.action_space, action)
        total = 0.0
        for played in range(1, ticks + 1):
            observation, reward, terminated, info = self._tick(action, drawn=played == ticks)
            total += float(reward)
            if self._off_road_cost and not any(wheel.tiles for wheel in self._env.car.wheels):
                total -= self._off_road_cost
            if terminated:
                self.finished = bool(info["lap_finished"])
                return Tick(None, total, True, played)
        return Tick(self._frame(observation), total, False, ticks)

    def close(self) -> None:
        """Close the game. May be called twice."""
        for body in list(self._env.world.bodies):  # Box2D never frees a world that still has some: 0.1 MiB a game
            self._env.world.DestroyBody(body)
        self._env.road, self._env.car = [], None  # none is destroyed twice, whatever was interrupted
        self._env.close()

    def _tick(self, action: Array, drawn: bool) -> tuple[Any, float, bool, dict[str, Any]]:
        if isinstance(self._env, FastCarRacing):
            observation, reward, terminated, _, info = self._env.tick(action, drawn)
        else:
            observation, reward, terminated, _, info = self._env.step(action)
        return observation, reward, terminated, info

    def _frame(self, observation: Any) -> Frame:
        return crop(observation) if self._cropped else observation
