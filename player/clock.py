"""Time in the player: around a game, within it, the temperature that rises with it, and the slow replay at its end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from wm_envs.games.base import Frame

FIRST = 0.5  # share of the world's own temperature at the start of the first game
PER_GAME, PER_SECOND = 0.1, 0.005  # shares added for each game played, and for each second within a game
SLOWER = 4  # ticks for which each frame of the replay is shown

Frames = list[tuple[str, Frame]]  # name and frame of each view


@dataclass(frozen=True)
class Timing:
    """Durations around a game, in ticks; with a window they are longer than in a recording."""

    countdown: int = 0  # before a game
    end: int = 0  # for which the end of a game is shown
    replay: int = 0  # of the slow replay at the end, at the game's speed
    wait: bool = False  # after a game of yours, wait for R


class RisingTemperature:
    """A temperature from FIRST times the world's own up to the world's own, so that the first games are easy."""

    def __init__(self, full: float) -> None:
        self.full, self.games = full, 0

    def at(self, seconds: float) -> float:
        """The temperature `seconds` into the current game."""
        return self.full * min(1.0, FIRST + PER_GAME * self.games + PER_SECOND * seconds)


class Clock:
    """Counts the ticks of a game: the countdown, the ticks of the current step that are shown, the wait at the end."""

    def __init__(self, timing: Timing, frame_skip: int, ticks_per_second: int) -> None:
        self.timing, self.frame_skip, self.ticks_per_second = timing, frame_skip, ticks_per_second
        self.played = 0  # ticks, in all games
        self.restart(countdown=False)

    def restart(self, countdown: bool) -> None:
        """Begin a game, with a countdown or without."""
        self.countdown = self.timing.countdown if countdown else 0
        self.phase = self.frame_skip  # ticks of the current step that have been shown
        self.waited = 0  # ticks since the game ended

    def advance(self, ticks: int = 1) -> None:
        """Show more ticks of the current step."""
        self.phase += ticks
        self.played += ticks

    @property
    def step_shown(self) -> bool:
        """Whether every tick of the current step has been shown."""
        return self.phase == self.frame_skip

    @property
    def count(self) -> int:
        """The number that the countdown shows: 3, 2 or 1."""
        return -(-3 * self.countdown // self.timing.countdown)

    def seconds(self, ticks: int) -> float:
        """Seconds up to the tick that is shown, in a game whose state is `ticks` old."""
        return max(ticks - (self.frame_skip - self.phase), 0) / self.ticks_per_second


class Replay:
    """The frames of the last `ticks` ticks, shown again slowly."""

    def __init__(self, ticks: int) -> None:
        self.ticks: deque[Frames] = deque(maxlen=ticks)

    @property
    def length(self) -> int:
        """Ticks that one slow replay takes."""
        return SLOWER * len(self.ticks)

    def frames(self, waited: int) -> Frames:
        """The frames to show `waited` ticks after the end, again and again."""
        return self.ticks[waited // SLOWER % len(self.ticks)]
