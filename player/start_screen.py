"""The start screen: choose a world, who is in control, the view and the temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pygame

from player.canvas import DIM, FAINT, GROUND, LETTERS, MARK, WHITE, Canvas
from player.drivers import CONTROLLER, RANDOM, YOU, Driver, load_controllers
from player.guides import HELP, Guide, guide_of
from player.options import TEMPERATURES, VIEWS, Options
from player.scores import BestScores, stored_bests
from wm_envs.games.base import Frame

VIEW_NAMES = {"dream": "the dream", "game": "the real game", "both": "the real game and the dream, side by side"}
TEMPERATURE_HELP = "The temperature is how random the dream is: a low one is calm and easy, a high one wild and hard."
TEMPERATURE_SHARES = ((0.3, "calm"), (1.0, "the world's own"), (1.4, "wild"))  # of the world's own
MARGIN, INDENT = 14, 112
PREVIEW_STEPS = 30  # of the controller, before the picture of a world is taken


@dataclass(frozen=True)
class Card:
    """A world on the start screen."""

    name: str
    title: str
    guide: Guide
    frame: Frame
    temperature: float  # the world's own
    controllers: tuple[str, ...]


def card_of(world: str) -> Card:
    """The card of a world, with a picture of its dream. Raises `BrokenWorld` or `UnknownName`."""
    controllers = load_controllers(world)
    env = gym.make("WMDream-v0", world=world, actions="continuous", render_mode="rgb_array")
    model, inner = env.get_wrapper_attr("world"), env.unwrapped
    driver = Driver(model, CONTROLLER, controllers)
    env.reset(seed=0)
    frame = np.asarray(env.render())
    for _ in range(PREVIEW_STEPS if controllers else 0):
        state: Any = inner.state  # type: ignore[attr-defined]
        _, _, terminated, truncated, _ = env.step(driver.action(state))
        if terminated or truncated:
            break
        frame = np.asarray(env.render())
    env.close()
    task = model.task
    return Card(world, task.title, guide_of(task), frame, model.config.temperature, tuple(controllers))


class _Row:
    """A row of values, each with a text; one of them is selected."""

    def __init__(self, title: str, options: Sequence[tuple[Any, str]], index: int = 0) -> None:
        self.title, self.options = title, options
        self.index = min(index, len(options) - 1)

    @property
    def value(self) -> Any:
        return self.options[self.index][0]

    def turn(self, by: int) -> None:
        self.index = (self.index + by) % len(self.options)

    def select(self, value: Any) -> None:
        """Select this value, if the row has it."""
        self.index = next((at for at, (other, _) in enumerate(self.options) if other == value), self.index)


class StartScreen:
    """The choices as rows: up and down select a row, left and right change it, Enter starts."""

    def __init__(self, canvas: Canvas, cards: Sequence[Card], options: Options) -> None:
        self.canvas, self.temperature = canvas, options.temperature
        titles = [card.title for card in cards]
        names = [
            card.title if titles.count(card.title) == 1 else card.name for card in cards
        ]  # the game, if it is clear
        self.worlds = _Row("world", list(zip(cards, names, strict=True)))
        self.worlds.index = next((at for at, card in enumerate(cards) if card.name == options.world), 0)
        self.selected = 0  # row
        self._list_options()
        self.driver.select(
            options.driver if options.driver != CONTROLLER else options.controller or self.driver.options[1][0]
        )
        self.view.select(options.view)
        self.help = self.started = self.quitting = False
        self.problem = ""  # why the last choice could not be played
        self.areas: dict[tuple[str, int], Any] = {}  # to click on: title of a row and index of a value, or -1: the next

    def _list_options(self, view: int = 0, temperature: int = 0) -> None:
        """The rows of the selected world."""
        card = self.card
        controllers = [(name, f"the controller '{name}'") for name in card.controllers]
        self.driver = _Row("in control", [(YOU, "you"), *controllers, (RANDOM, "random actions")])
        self.view = _Row("view", [(name, VIEW_NAMES[name]) for name in VIEWS], view)
        values = [
            (round(min(share * card.temperature, TEMPERATURES[1]), 2), name) for share, name in TEMPERATURE_SHARES
        ]
        options: list[tuple[float | None, str]] = [(None, "easy at first, then rising")]
        options += [(value, f"{value}: {name}") for value, name in values]
        if self.temperature is not None:
            options.insert(0, (self.temperature, f"{self.temperature}, as you asked"))
        self.temperatures = _Row("temperature", options, temperature)
        self.bests: BestScores = stored_bests(card.name)

    @property
    def rows(self) -> list[_Row]:
        """The rows, from top to bottom."""
        return [self.worlds, self.driver, self.view, self.temperatures]

    @property
    def card(self) -> Card:
        """The selected world."""
        return self.worlds.value

    @property
    def choice(self) -> dict[str, Any]:
        """The options that are selected."""
        controller = "" if self.driver.value in (YOU, RANDOM) else self.driver.value
        return {
            "world": self.card.name,
            "driver": CONTROLLER if controller else self.driver.value,
            "controller": controller,
            "view": self.view.value,
            "temperature": self.temperatures.value,
        }

    def restart(self, problem: str = "") -> None:
        """Show the screen again, after a game or a problem."""
        self.started, self.problem = False, problem
        self.bests = stored_bests(self.card.name)

    # --- input ------------------------------------------------------------------------------------------

    def press(self, command: str) -> None:
        """Handle a command: that of a key or a button."""
        if command in ("quit", "leave"):
            self.quitting = True
        elif command == "help":
            self.help = not self.help
        elif command in ("up", "down"):
            self.selected = (self.selected + (1 if command == "down" else -1)) % len(self.rows)
        elif command in ("left", "right"):
            self._turn(self.rows[self.selected], 1 if command == "right" else -1)
        elif command in ("enter", "pause") or command.startswith("button"):
            self.started, self.help = True, False

    def release(self, command: str) -> None:
        """Nothing is held here."""

    def point(self, at: tuple[int, int], pressed: bool) -> None:
        """Select what was clicked on."""
        for (title, index), area in self.areas.items():
            if not (pressed and area.collidepoint(at)):
                continue
            if title == "start":
                self.started = True
                return
            self.selected = [row.title for row in self.rows].index(title)
            row = self.rows[self.selected]
            self._turn(row, 1 if index < 0 else index - row.index)

    def _turn(self, row: _Row, by: int) -> None:
        row.turn(by)
        if row is self.worlds:
            self._list_options(self.view.index, self.temperatures.index)
        self.problem = ""

    # --- drawing ----------------------------------------------------------------------------------------

    def draw(self, size: tuple[int, int]) -> Any:
        """A surface of `size`."""
        surface = self.canvas.surface = pygame.Surface(size)
        surface.fill(GROUND)
        self.areas = {}
        if self.help:
            self.canvas.message(HELP, surface.get_rect(), LETTERS)
            return surface
        line, width = self.canvas.line_height(), size[0] - 2 * MARGIN
        guide = self.card.guide
        above = [(guide.goal, WHITE), (guide.keys, DIM)]
        below = [(self.problem, MARK)] if self.problem else [(TEMPERATURE_HELP, DIM), (self._bests(), DIM)]
        texts = sum(len(self.canvas.wrap(words, LETTERS, width)) for words, _ in above + below)
        cards = len(self.worlds.options)
        height = size[1] - (texts + len(self.rows) + 1) * line - 4 * MARGIN - 8  # that the texts leave to the cards
        top = self._draw_cards(max(min((width - (cards - 1) * MARGIN) // cards, height), 16)) + MARGIN // 2
        top = self._draw_texts(above, pygame.Rect(MARGIN, top, width, line)) + 6
        for row in self.rows[1:]:
            self._draw_row(row, pygame.Rect(MARGIN, top, width, line))
            top += line
        self._draw_texts(below, pygame.Rect(MARGIN, top + 6, width, line))
        self._draw_foot((MARGIN, size[1] - line - 6))
        return surface

    def _bests(self) -> str:
        best = self.bests.texts(self.card.controllers, "dream" if self.view.value == "dream" else "game")
        return ", ".join(best) or "No scores here yet."

    def _draw_texts(self, texts: Sequence[tuple[str, Any]], area: Any) -> int:
        """Draw paragraphs one below the other; returns the bottom of the last one."""
        for words, colour in texts:
            area.top += self.canvas.paragraph(words, area, colour=colour)
        return int(area.top)

    def _draw_cards(self, side: int) -> int:
        """Draw the worlds side by side; returns the bottom of their titles."""
        left = MARGIN
        for index, (card, title) in enumerate(self.worlds.options):
            area = pygame.Rect(left, MARGIN, side, side)
            self.canvas.frame(card.frame, area, smooth=False)
            chosen = index == self.worlds.index
            if not chosen:
                self.canvas.shade(area)
            pygame.draw.rect(self.canvas.surface, MARK if chosen else FAINT, area.inflate(6, 6), 3)
            colour = MARK if chosen and self.selected == 0 else WHITE if chosen else DIM
            self.canvas.text(title, (left, area.bottom + 6), colour=colour)
            self.areas[self.worlds.title, index] = area
            left += max(side, self.canvas.width(title)) + MARGIN
        return MARGIN + side + 6 + self.canvas.line_height()

    def _draw_row(self, row: _Row, area: Any) -> None:
        chosen = row is self.rows[self.selected]
        text = row.options[row.index][1]
        text = f"<  {text}  >" if chosen else f"   {text}"
        self.canvas.text(row.title, area.topleft, colour=MARK if chosen else DIM)
        self.canvas.text(text, (area.left + INDENT, area.top), colour=MARK if chosen else WHITE)
        self.areas[row.title, -1] = area

    def _draw_foot(self, at: tuple[int, int]) -> None:
        start = self.canvas.text("Enter: play", at, colour=MARK)
        self.canvas.text("arrows: choose    H: help    Q: quit", (start.right + 24, at[1]), colour=DIM)
        self.areas["start", 0] = start.inflate(16, 8)
