"""The panel beside the pictures: score, best scores, who plays, temperature, danger, surprise, gauges, keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pygame

from player.drawing import DIM, LETTERS, WHITE, Canvas
from player.hud import best_texts, danger_texts, score_texts, temperature_text, who_text
from player.layout import COLUMN, Box
from player.player import TEMPERATURES, Player
from player.views import GameView, View

PLOT = 26  # height of a plot
GAP, MARGIN = 8, 10
LARGE = 32  # letters of the score
KEYS = ("R: new game    P: pause", "M: who plays    V: view", "C: next controller", "L: latents    G: save")
KEYS_LINE = "H: help   Esc: leave   Q: quit"
SURPRISE_RANGE = 1.5  # nats per dimension above the typical surprise that fill a plot

Block = tuple[int, Callable[[Any], None]]  # height, and what draws it in an area


class Panel:
    """Draws the panel; it stores where the temperature slider lies."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.slider: Any = None
        self.line = canvas.line_height()

    def draw(self, player: Player, box: Box) -> None:
        """Draw the panel in a box: its blocks from top to bottom, in as many columns as fit."""
        left, top, width, height = box
        self.slider = None
        keys = pygame.Rect(left + MARGIN, top + height - self.line - 4, width - 2 * MARGIN, self.line)
        columns = max(width // COLUMN, 1)
        column = pygame.Rect(left + MARGIN, top + GAP, width // columns - 2 * MARGIN, keys.top - top - GAP)
        at, number = column.top, 0
        for needed, draw in self._blocks(player):
            if at + needed > column.bottom and at > column.top:
                number, at = number + 1, column.top
            if number >= columns or at + needed > column.bottom:
                break
            draw(pygame.Rect(column.left + number * (width // columns), at, column.width, needed))
            at += needed + GAP
        if keys.top > top:
            self.canvas.text(KEYS_LINE, keys.topleft, colour=DIM)

    def _blocks(self, player: Player) -> list[Block]:
        """The blocks of this moment, the most important first."""
        blocks = [self._score(player), self._lines([*best_texts(player), who_text(player)])]
        if player.view != "game":
            blocks.append(self._temperature(player))
        blocks += [
            self._plot(view, words) for view, words in zip(player.views, danger_texts(player), strict=True)
        ]  # fmt: skip
        lead = player.lead
        if lead.action is not None:
            blocks += [self._gauge(gauge) for gauge in player.guide.gauges(lead.action, lead.instruments)]
        return [*blocks, self._about(player.guide.goal), self._lines(list(KEYS), DIM)]

    def _score(self, player: Player) -> Block:
        """The score in large letters, as large as fits, and the time."""
        words = "   ".join(score_texts(player))

        def draw(area: Any) -> None:
            size = LARGE
            while size > LETTERS and self.canvas.width(words, size) > area.width:
                size -= 1
            self.canvas.text(words, area.topleft, size)

        return self.canvas.line_height(LARGE), draw

    def _about(self, words: str) -> Block:
        lines = len(self.canvas.wrap(words, LETTERS, COLUMN - 2 * MARGIN))

        def draw(area: Any) -> None:
            self.canvas.paragraph(words, area, colour=DIM)

        return lines * self.line, draw

    def _lines(self, lines: list[str], last: Any = WHITE) -> Block:
        def draw(area: Any) -> None:
            for number, words in enumerate(lines):
                colour = last if number == len(lines) - 1 else DIM
                self.canvas.text(words, (area.left, area.top + number * self.line), colour=colour)

        return len(lines) * self.line, draw

    def _temperature(self, player: Player) -> Block:
        def draw(area: Any) -> None:
            low, high = TEMPERATURES
            words = self.canvas.text(temperature_text(player), area.topleft)
            if words.right < area.right - 30:
                self.canvas.text("[  ]", (area.right - 24, area.top), colour=DIM)
            line = pygame.Rect(area.left, area.top + self.line + 2, area.width, 10)
            self.canvas.slider((player.temperature - low) / (high - low), line)
            self.slider = line.inflate(0, 10)

        return self.line + 14, draw

    def _plot(self, view: View, words: str) -> Block:
        """The words, and the plot of the last seconds behind them: M's probability of an end, or its surprise."""

        def draw(area: Any) -> None:
            self.canvas.text(words, area.topleft)
            limits = (0.0, 1.0)
            if isinstance(view, GameView):
                limits = (view.typical_surprise - 0.5, view.typical_surprise + SURPRISE_RANGE)
            graph = pygame.Rect(area.left, area.top + self.line, area.width, PLOT)
            self.canvas.plot(list(view.history), view.history.maxlen or 2, limits, graph)

        return self.line + PLOT, draw

    def _gauge(self, gauge: Any) -> Block:
        return self.line, lambda area: self.canvas.gauge(gauge, area)
