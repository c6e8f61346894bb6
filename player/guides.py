"""Texts and instruments of each game: its goal, its keys, how an episode ended; and the keys of every game."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from player.drivers import DIRECTIONS, digits
from wm_envs.games.base import Frame, Task

LEFT_FIELD = -20.0  # a reward below it: the car left the field, which costs 100
ROAD_SHARE = 0.004  # share of road pixels below which the car is off the track
HELP = (
    "arrows, W/A/S/D, gamepad: move",
    "R: new game    P, . or space: pause",
    "[ and ]: temperature",
    "M: you, controller or random    C: next controller",
    "V: dream, real game or both",
    "Y: set the dream to the game's state",
    "E: one step    L: latent editor",
    "G: save the last seconds    B: smooth picture",
    "H: this help    Escape: start screen    Q: quit",
)


@dataclass(frozen=True)
class Gauge:
    """A bar: `value` within `low` to `high`, drawn from `origin`, and `text` beside its name."""

    name: str
    value: float
    low: float
    high: float
    origin: float
    text: str

    def fraction(self, value: float) -> float:
        """The place of a value on the bar, 0 to 1."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


Gauges = Callable[[NDArray[np.float32], Mapping[str, float]], list[Gauge]]


@dataclass(frozen=True)
class Guide:
    """The texts and instruments of one game."""

    goal: str = "Play as long as you can."
    keys: str = "arrows: move"
    unit: str = "points"
    ending: Callable[[float], str] = lambda reward: "The episode has ended."  # from the last step's reward
    limit: str = "Time is up."
    gauges: Gauges = lambda action, instruments: []  # from the agent's action (A,) and the game's instruments
    off_track: Callable[[Frame], bool] = lambda frame: False  # whether the frame shows no way back
    off_track_text: str = ""


def _car_gauges(action: NDArray[np.float32], instruments: Mapping[str, float]) -> list[Gauge]:
    """Steering and pedals are the action itself. The speed is known in the game; the dream does not say it."""
    steer, gas, brake = (float(value) for value in np.clip(action, -1, 1))
    side = "left" if steer < -0.05 else "right" if steer > 0.05 else "straight"
    gas, brake = (gas + 1) / 2, max(brake, 0.0)
    gauges = [
        Gauge("steering", steer, -1, 1, 0, side),
        Gauge("gas", gas, 0, 1, 0, f"{gas:.0%}"),
        Gauge("brake", brake, 0, 1, 0, f"{brake:.0%}"),
    ]
    if "speed" in instruments:
        speed = 3.6 * instruments["speed"]  # km/h
        gauges.insert(0, Gauge("speed", speed, 0, 400, 0, f"{speed:.0f} km/h"))
    return gauges


def _no_road(frame: Frame) -> bool:
    """Whether the frame shows hardly any road, which is grey: neither green as grass nor black as the outside."""
    red, green, blue = (frame[..., i].astype(int) for i in range(3))
    road = (abs(green - red) < 30) & (abs(blue - red) < 30) & (green > 50)
    return bool(road.mean() < ROAD_SHARE)


GUIDES = {
    "takecover": Guide(
        goal="Stay alive: dodge the fireballs. One hit ends the game.",
        keys="left and right arrow: step aside",
        unit="ticks",
        ending=lambda reward: "A fireball hit you.",
        limit="You survived to the limit.",
    ),
    "carracing": Guide(
        goal="Drive around the whole track, fast, and stay on it.",
        keys="left and right: steer   up: gas   down: brake",
        ending=lambda reward: "The car left the field." if reward < LEFT_FIELD else "You finished the lap.",
        limit="Time is up.",
        gauges=_car_gauges,
        off_track=_no_road,
        off_track_text="The car is off the track. R: start again",
    ),
}


def guide_of(task: Task) -> Guide:
    """The guide of a game; a plain one, which names the arrows that do something, for a game without its own."""
    return GUIDES.get(task.name) or Guide(keys=_plain_keys(task))


def _plain_keys(task: Task) -> str:
    """The keys of a game without a guide: arrows that do something, and digits if there are actions beside these."""
    arrows, numbers = _arrows(task), digits(task)
    by_arrow = {task.actions.of_keys(right, up) for right in (-1, 0, 1) for up in (-1, 0, 1)}
    words = [f"arrows: {', '.join(arrows)}"] if arrows else []
    if numbers and not {tuple(action) for action in task.actions.discrete} <= by_arrow:
        words.append(f"{numbers[0]} to {numbers[-1]}: actions by number")
    return "   ".join(words) or "no key does anything"


def _arrows(task: Task) -> list[str]:
    """The arrow keys whose action differs from that of no key."""
    nothing = task.actions.of_keys(0, 0)
    return [name for name, keys in DIRECTIONS.items() if task.actions.of_keys(*keys) != nothing]
