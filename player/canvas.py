"""A canvas: texts, frames, bars and plots on a pygame surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pygame

from wm_envs.games.base import Frame

WHITE, DIM, FAINT, MARK = (255, 255, 255), (165, 165, 165), (60, 60, 66), (255, 170, 60)
GROUND, SHADE = (24, 24, 28), (0, 0, 0, 165)
LETTERS = 22  # the smallest font: its letters are 15 pixels high
SHARPER = 2  # texts are drawn so many times larger, then scaled down: pygame spaces small letters unevenly
CACHED = 200  # texts that are kept


class Canvas:
    """A surface to draw on, and the fonts."""

    def __init__(self) -> None:
        pygame.font.init()
        self._fonts: dict[int, Any] = {}
        self._texts: dict[tuple[str, int, Any], Any] = {}
        self.surface: Any = None

    def _font(self, size: int) -> Any:
        """pygame's own font, which is the same everywhere."""
        if size not in self._fonts:
            self._fonts[size] = pygame.font.Font(None, SHARPER * size)
        return self._fonts[size]

    def line_height(self, size: int = LETTERS) -> int:
        """The height of a line of text."""
        return int(self._font(size).get_linesize()) // SHARPER + 2

    def width(self, words: str, size: int = LETTERS) -> int:
        """The width of a line of text."""
        return int(self._font(size).size(words)[0]) // SHARPER

    def text(self, words: str, at: tuple[int, int], size: int = LETTERS, colour: Any = WHITE) -> Any:
        """Draw a line of text with its upper left corner at a point; returns its rectangle."""
        key = words, size, colour
        if key not in self._texts:
            large = self._font(size).render(words, True, colour)
            if len(self._texts) >= CACHED:
                self._texts.clear()
            smaller = (large.get_width() // SHARPER, large.get_height() // SHARPER)
            self._texts[key] = pygame.transform.smoothscale(large, smaller)
        return self.surface.blit(self._texts[key], at)

    def wrap(self, words: str, size: int, width: int) -> list[str]:
        """The text in lines of at most this width, broken between words."""
        lines = [""]
        for word in words.split(" "):
            longer = f"{lines[-1]} {word}" if lines[-1] else word
            if lines[-1] and self.width(longer, size) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def paragraph(self, words: str, area: Any, size: int = LETTERS, colour: Any = WHITE) -> int:
        """Draw text in an area, in several lines if needed; returns the height."""
        lines = self.wrap(words, size, area.width)
        for number, line in enumerate(lines):
            self.text(line, (area.left, area.top + number * self.line_height(size)), size, colour)
        return len(lines) * self.line_height(size)

    def strip(self, words: Sequence[str], area: Any, size: int) -> None:
        """Draw words on a dark strip, spread from left to right; in a smaller font if they do not fit."""
        while size > LETTERS and sum(self.width(word, size) + 12 for word in words) > area.width:
            size -= 1
        self.shade(area)
        for number, word in enumerate(words):
            width, height = self.width(word, size), self.line_height(size) - 2
            fraction = number / (len(words) - 1) if len(words) > 1 else 0.5
            left = area.left + 6 + fraction * (area.width - 12 - width)
            self.text(word, (int(left), area.top + (area.height - height) // 2), size)

    def message(self, lines: Sequence[str], area: Any, size: int, top: bool = False) -> None:
        """Draw centred lines on a dark ground, in the middle or at the top of an area."""
        shown = [piece for line in lines for piece in self.wrap(line, size, max(area.width - 24, 1))]
        if not shown:
            return
        height = self.line_height(size)
        ground = pygame.Rect(area.left, 0, area.width, min(len(shown) * height + 16, area.height))
        ground.top = area.top if top else area.centery - ground.height // 2
        self.shade(ground)
        for number, line in enumerate(shown):
            left = area.centerx - self.width(line, size) // 2
            self.text(line, (left, ground.top + 8 + number * height), size)

    def shade(self, area: Any) -> None:
        """Darken an area."""
        shade = pygame.Surface(area.size, pygame.SRCALPHA)
        shade.fill(SHADE)
        self.surface.blit(shade, area)

    def frame(self, frame: Frame, area: Any, smooth: bool) -> None:
        """Draw a frame as large as the area, with sharp pixels or smooth."""
        if min(area.size) < 1:  # the window is too small for it
            return
        picture = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        scale = pygame.transform.smoothscale if smooth else pygame.transform.scale
        self.surface.blit(scale(picture, area.size), area)

    def slider(self, fraction: float, area: Any, colour: Any = MARK) -> None:
        """Draw a line with a mark on it."""
        pygame.draw.rect(self.surface, FAINT, area.inflate(0, 4 - area.height))
        mark = pygame.Rect(area.left + fraction * (area.width - 8), area.top, 8, area.height)
        pygame.draw.rect(self.surface, colour, mark)

    def gauge(self, name: str, words: str, start: float, end: float, area: Any) -> None:
        """Draw a bar from `start` to `end` of its width, 0 to 1, with its name at the left and words at the right."""
        self.text(name, area.topleft, colour=DIM)
        self.text(words, (area.right - self.width(words), area.top))
        bar = pygame.Rect(area.left + 76, area.top + 3, area.width - 76 - 84, area.height - 8)
        pygame.draw.rect(self.surface, FAINT, bar)
        left, right = (bar.left + bar.width * fraction for fraction in sorted((start, end)))
        pygame.draw.rect(self.surface, MARK, (left, bar.top, max(right - left, 2), bar.height))

    def plot(self, values: Sequence[float], length: int, limits: tuple[float, float], area: Any) -> None:
        """Plot the last values, the newest at the right; `length` of them fill the area."""
        pygame.draw.rect(self.surface, FAINT, area)
        low, high = limits
        points = []
        for age, value in enumerate(reversed(values)):
            height = (min(max(value, low), high) - low) / (high - low) * (area.height - 3)
            points.append((area.right - 1 - age * (area.width - 1) / max(length - 1, 1), area.bottom - 2 - height))
        if len(points) > 1:
            pygame.draw.lines(self.surface, MARK, False, points, 2)
