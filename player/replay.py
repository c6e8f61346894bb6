"""The last second of a game, played again slowly."""

from __future__ import annotations

from collections import deque

from wm_envs.games.base import Frame

SLOWER = 4  # ticks for which each frame of the replay is shown

Frames = list[tuple[str, Frame]]  # name and frame of each view


class Replay:
    """The frames of the last `ticks` ticks."""

    def __init__(self, ticks: int) -> None:
        self.ticks: deque[Frames] = deque(maxlen=ticks)

    def add(self, frames: Frames) -> None:
        """Keep the frames of a tick."""
        self.ticks.append(frames)

    def clear(self) -> None:
        """Forget everything: a new game starts."""
        self.ticks.clear()

    @property
    def length(self) -> int:
        """Ticks that one slow replay takes."""
        return SLOWER * len(self.ticks)

    def frames(self, waited: int) -> Frames | None:
        """The frames to show `waited` ticks after the end, again and again; None if none were kept."""
        if not self.ticks:
            return None
        return self.ticks[waited // SLOWER % len(self.ticks)]
