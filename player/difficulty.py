"""A temperature that starts low and rises, so that the first games are gentle."""

from __future__ import annotations

FIRST = 0.5  # share of the world's own temperature at the start of the first game
PER_GAME, PER_SECOND = 0.1, 0.005  # shares added for each game played, and for each second within a game


class RisingTemperature:
    """The temperature of each moment: from FIRST times the world's own up to the world's own."""

    def __init__(self, full: float) -> None:
        self.full, self.games = full, 0

    def at(self, seconds: float) -> float:
        """The temperature `seconds` into the current game."""
        return self.full * min(1.0, FIRST + PER_GAME * self.games + PER_SECOND * seconds)
