"""The panel beside the pictures: scores, who is in control, temperature, danger, surprise, gauges, keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pygame

from player.canvas import DIM, LETTERS, WHITE, Canvas
from player.layout import COLUMN, Box
from player.scene import Plot, Scene

PLOT = 26  # height of a plot
GAP, MARGIN = 8, 10
LARGE = 32  # letters of the score
KEYS = ("R: new game    P: pause", "M: you or controller    V: view", "C: next controller", "L: latents    G: save")
KEYS_LINE = "H: help   Esc: leave   Q: quit"

Block = tuple[int, Callable[[Any], None]]  # height, and what draws it in an area


class Panel:
    """Draws the panel; `sliders` gets the area of the temperature slider."""

    def __init__(self, canvas: Canvas, sliders: dict[str | int, Any]) -> None:
        self.canvas, self.sliders = canvas, sliders
        self.line = canvas.line_height()

    def draw(self, scene: Scene, box: Box) -> None:
        """Draw the panel in a box: its blocks from top to bottom, in as many columns as fit."""
        left, top, width, height = box
        keys = pygame.Rect(left + MARGIN, top + height - self.line - 4, width - 2 * MARGIN, self.line)
        columns = max(width // COLUMN, 1)
        column = pygame.Rect(left + MARGIN, top + GAP, width // columns - 2 * MARGIN, keys.top - top - GAP)
        at, number = column.top, 0
        for needed, draw in self._blocks(scene):
            if at + needed > column.bottom and at > column.top:
                number, at = number + 1, column.top
            if number >= columns or at + needed > column.bottom:
                break
            draw(pygame.Rect(column.left + number * (width // columns), at, column.width, needed))
            at += needed + GAP
        if keys.top > top:
            self.canvas.text(KEYS_LINE, keys.topleft, colour=DIM)

    def _blocks(self, scene: Scene) -> list[Block]:
        """The blocks of this moment, the most important first."""
        return [
            self._score("   ".join(scene.scores)),
            self._lines([*scene.best_scores, scene.driver]),
            *([self._temperature(scene)] if scene.temperature else []),
            *(self._plot(plot) for plot in scene.plots),
            *(self._gauge(gauge) for gauge in scene.gauges),
            self._about(scene.goal),
            self._lines(list(KEYS), DIM),
        ]

    def _score(self, words: str) -> Block:
        """The score and the time in large letters, as large as fits."""

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

    def _temperature(self, scene: Scene) -> Block:
        def draw(area: Any) -> None:
            words = self.canvas.text(scene.temperature, area.topleft)
            if words.right < area.right - 30:
                self.canvas.text("[  ]", (area.right - 24, area.top), colour=DIM)
            line = pygame.Rect(area.left, area.top + self.line + 2, area.width, 10)
            self.canvas.slider(scene.temperature_fraction, line)
            self.sliders["temperature"] = line.inflate(0, 10)

        return self.line + 14, draw

    def _plot(self, plot: Plot) -> Block:
        """The words, and the plot of the values behind them."""

        def draw(area: Any) -> None:
            self.canvas.text(plot.words, area.topleft)
            graph = pygame.Rect(area.left, area.top + self.line, area.width, PLOT)
            self.canvas.plot(plot.values, plot.length, plot.limits, graph)

        return self.line + PLOT, draw

    def _gauge(self, gauge: Any) -> Block:
        start, end = gauge.fraction(gauge.origin), gauge.fraction(gauge.value)
        return self.line, lambda area: self.canvas.gauge(gauge.name, gauge.text, start, end, area)
