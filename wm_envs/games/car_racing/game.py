"""The game behind the CarRacing task: pixels and ticks of Gymnasium's CarRacing."""

from __future__ import annotations

from typing import Any

from wm_envs.errors import InvalidOption, ResetNeeded
from wm_envs.games.base import Array, Frame, Info, Keywords, Tick
from wm_envs.games.car_racing.dependencies import CarRacing
from wm_envs.games.car_racing.fast_car_racing import FastCarRacing, checked_action
from wm_envs.games.car_racing.scene import crop
from wm_envs.games.car_racing.task import RENDERERS


class CarRacingGame:
    """CarRacing without a time limit; satisfies `wm_envs.games.base.Game`.

    `renderer`: "fast" draws the small frame directly; "exact" and "stock" crop and resize the observation of
    CarRacing-v3. The episode is that of `gym.make("CarRacing-v3").reset(seed=seed)` with each of them. "exact" and
    "fast" draw only the last frame of `advance`; "stock" draws every frame.
    `lap_complete_percent`: the share of the tiles that completes a lap, as in CarRacing-v3.
    `off_road_cost`: subtracted from the reward for each tick with no wheel on the road. In the game itself a missed
    tile costs nothing at once; it prevents the end of the lap, which is beyond the horizon of a learner.
    """

    def __init__(
        self, renderer: str = "fast", lap_complete_percent: float = 0.95, off_road_cost: float = 0.0
    ) -> None:  # fmt: skip
        if renderer not in RENDERERS:
            raise InvalidOption("renderer", renderer, f"one of {list(RENDERERS)}", "pass renderer='fast'")
        lap: Keywords = {"lap_complete_percent": lap_complete_percent}
        self._env: Any = CarRacing(**lap) if renderer == "stock" else FastCarRacing(renderer, **lap)
        self._cropped, self._off_road_cost = renderer != "fast", off_road_cost
        self.finished = False  # True once the lap is completed

    def reset(self, seed: int) -> Frame:
        """Start the episode of `seed`; the same seed gives the same track."""
        self.finished = False
        return self._frame(self._env.reset(seed=int(seed))[0])

    def advance(self, action: Array, ticks: int) -> Tick:
        """Hold `action` ((3,): steer -1..1, gas 0..1, brake 0..1) for `ticks` ticks of 1/50 s."""
        if self._env.car is None:
            raise ResetNeeded("advance", "a tick before the first reset", "a reset first", "call game.reset(0)")
        action = checked_action(self._env.action_space, action)
        total = cost = 0.0
        for played in range(1, ticks + 1):
            observation, reward, terminated, info = self._tick(action, drawn=played == ticks)
            total += float(reward)
            if self._off_road_cost and not any(wheel.tiles for wheel in self._env.car.wheels):
                cost += self._off_road_cost
            if terminated:
                self.finished = bool(info["lap_finished"])
                return Tick(None, total - cost, True, played, cost)
        return Tick(self._frame(observation), total - cost, False, ticks, cost)

    @property
    def instruments(self) -> dict[str, float]:
        """`speed` in metres per second (Box2D's units); empty before the first reset."""
        car = self._env.car
        return {} if car is None else {"speed": float(car.hull.linearVelocity.length)}

    def close(self) -> None:
        """Close the game. May be called twice."""
        for body in list(self._env.world.bodies):  # Box2D leaks a world that still has bodies: 0.1 MiB a game
            self._env.world.DestroyBody(body)
        self._env.road, self._env.car = [], None  # destroying a body twice would crash the process
        self._env.close()

    def _tick(self, action: Array, drawn: bool) -> tuple[Any, float, bool, Info]:
        if isinstance(self._env, FastCarRacing):
            observation, reward, terminated, _, info = self._env.tick(action, drawn)
        else:
            observation, reward, terminated, _, info = self._env.step(action)
        return observation, reward, terminated, info

    def _frame(self, observation: Any) -> Frame:
        return crop(observation) if self._cropped else observation
