"""The start screen: choose a world, who plays, the view and the temperature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pygame

from player.choices import Choice
from player.controls import command_of
from player.drawing import DIM, FAINT, GROUND, LETTERS, MARK, WHITE, Canvas
from player.drivers import load_controllers
from player.guides import Guide, guide_of
from player.hud import HELP, TEMPERATURE_HELP
from player.player import TEMPERATURES, VIEWS
from player.scores import YOU, BestScores
from wm_envs.games.base import Frame
from wm_envs.models.controller import act

VIEW_NAMES = {"dream": "the dream", "game": "the real game", "both": "the real game and the dream, side by side"}
MARGIN = 14
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
    env.reset(seed=0)
    frame = np.asarray(env.render())
    for _ in range(PREVIEW_STEPS if controllers else 0):
        config, parameters = next(iter(controllers.values()))
        state: Any = inner.state  # type: ignore[attr-defined]
        action = act(config, parameters, model.observe(state, config.observation).cpu())[0].numpy()
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
        frame = np.asarray(env.render())
    env.close()
    task = model.task
    return Card(world, task.title, guide_of(task), frame, model.config.temperature, tuple(controllers))


class StartScreen:
    """The choices as rows: up and down select a row, left and right change it, Enter starts."""

    rows = ("world", "who", "view", "temperature")

    def __init__(self, canvas: Canvas, cards: list[Card], choice: Choice, bests: dict[str, BestScores]) -> None:
        self.canvas, self.cards, self.bests = canvas, cards, bests
        names = [card.name for card in cards]
        self.at = {"world": names.index(choice.world) if choice.world in names else 0, "who": 0,
                   "view": VIEWS.index(choice.view), "temperature": 0}  # fmt: skip
        self.row = 0
        self.help = self.started = self.quitting = False
        self.problem = ""  # why the last choice could not be played
        self.places: list[tuple[Any, str, int]] = []  # areas to click on: row and value, or -1: the next value
        who = choice.controller if choice.driver == "controller" else choice.driver
        players = [value for value, _ in self._options("who")]
        self.at["who"] = players.index(who) if who in players else 1 if choice.driver == "controller" else 0
        self.fixed = choice.temperature

    @property
    def card(self) -> Card:
        """The selected world."""
        return self.cards[self.at["world"]]

    @property
    def choice(self) -> Choice:
        """What is selected."""
        who = self._value("who")
        driver = who if who in (YOU, "random") else "controller"
        chosen = Choice(self.card.name, driver, who if driver == "controller" else "", self._value("view"))
        return replace(chosen, temperature=self._value("temperature"))

    def _title(self, card: Card) -> str:
        """The game of a world, or the name of the world where several are of that game."""
        return card.title if [other.title for other in self.cards].count(card.title) == 1 else card.name

    def _options(self, row: str) -> list[tuple[Any, str]]:
        """Values and texts of a row."""
        card = self.card
        if row == "world":
            return [(card.name, self._title(card)) for card in self.cards]
        if row == "who":
            controllers = [(name, f"the controller '{name}'") for name in card.controllers]
            return [(YOU, "you"), *controllers, ("random", "random play")]
        if row == "view":
            return [(view, VIEW_NAMES[view]) for view in VIEWS]
        own = card.temperature
        options: list[tuple[Any, str]] = [(None, "gentle at first, then rising")]
        if getattr(self, "fixed", None) is not None:
            options.insert(0, (self.fixed, f"{self.fixed}, as you asked"))
        for share, name in ((0.3, "calm"), (1.0, "the world's own"), (1.4, "wild")):
            value = round(min(share * own, TEMPERATURES[1]), 2)
            options.append((value, f"{value}: {name}"))
        return options

    def _value(self, row: str) -> Any:
        options = self._options(row)
        return options[min(self.at[row], len(options) - 1)][0]

    # --- input ------------------------------------------------------------------------------------------

    def handle(self, event: Any) -> None:
        """Handle a pygame event."""
        if event.type == pygame.QUIT:
            self.quitting = True
        elif event.type == pygame.MOUSEBUTTONDOWN:
            self._click(event.pos)
        elif event.type == pygame.KEYDOWN:
            self._press(command_of(event) or "")
        elif event.type == pygame.JOYBUTTONDOWN:
            self._press("enter")
        elif event.type == pygame.JOYHATMOTION and any(event.value):
            right, up = event.value
            self._press({1: "right", -1: "left"}.get(right, "up" if up > 0 else "down"))

    def _press(self, command: str) -> None:
        if command in ("quitting", "leave"):
            self.quitting = True
        elif command == "help":
            self.help = not self.help
        elif command in ("up", "down"):
            self.row = (self.row + (1 if command == "down" else -1)) % len(self.rows)
        elif command in ("left", "right"):
            self._turn(self.rows[self.row], 1 if command == "right" else -1)
        elif command in ("enter", "paused"):
            self.started, self.help = True, False

    def _turn(self, row: str, by: int) -> None:
        self.at[row] = (min(self.at[row], len(self._options(row)) - 1) + by) % len(self._options(row))
        if row == "world":
            self.at["who"] = 0
        self.problem = ""

    def _click(self, at: tuple[int, int]) -> None:
        for area, row, value in self.places:
            if area.collidepoint(at):
                if row == "start":
                    self.started = True
                    return
                self.row = self.rows.index(row)
                self._turn(row, 1 if value < 0 else value - self.at[row])

    # --- drawing ----------------------------------------------------------------------------------------

    def draw(self, size: tuple[int, int]) -> Any:
        """A surface of `size`."""
        surface = self.canvas.surface = pygame.Surface(size)
        surface.fill(GROUND)
        self.places = []
        if self.help:
            self.canvas.message(HELP, surface.get_rect(), LETTERS)
            return surface
        line = self.canvas.line_height()
        width, height = size[0] - 2 * MARGIN, size[1]
        texts = self._texts()
        rows = len(self.rows) - 1
        lines = rows + 2 + sum(len(self.canvas.wrap(words, LETTERS, width)) for words, _ in texts)
        beside = (width - (len(self.cards) - 1) * MARGIN) // len(self.cards)
        side = max(min(beside, height - lines * line - 4 * MARGIN - 8), 16)
        top = self._draw_cards(side) + MARGIN // 2
        for words, colour in texts[:2]:
            top += self.canvas.paragraph(words, pygame.Rect(MARGIN, top, width, line), colour=colour)
        top += 6
        for row in self.rows[1:]:
            self._draw_row(row, pygame.Rect(MARGIN, top, width, line))
            top += line
        top += 6
        for words, colour in texts[2:]:
            top += self.canvas.paragraph(words, pygame.Rect(MARGIN, top, width, line), colour=colour)
        self._draw_foot(pygame.Rect(MARGIN, height - line - 6, width, line))
        return surface

    def _texts(self) -> list[tuple[str, Any]]:
        """Two texts above the rows, the others below."""
        guide = self.card.guide
        above = [(guide.goal, WHITE), (guide.keys, DIM)]
        if self.problem:
            return [*above, (self.problem, MARK)]
        return [*above, (TEMPERATURE_HELP, DIM), (self._bests(), DIM)]

    def _bests(self) -> str:
        scores = self.bests[self.card.name]
        view = "dream" if self._value("view") == "dream" else "game"
        names = [(YOU, "your best"), *((name, f"'{name}'") for name in self.card.controllers)]
        found = [(text, scores.best(name, view)) for name, text in names]
        known = [f"{text} {score:.0f}" for text, score in found if score is not None]
        return f"Best scores here: {', '.join(known)}" if known else "No scores here yet."

    def _draw_cards(self, side: int) -> int:
        """Draw the worlds side by side; returns the bottom of their titles."""
        line = self.canvas.line_height()
        left = MARGIN
        for number, card in enumerate(self.cards):
            area = pygame.Rect(left, MARGIN, side, side)
            self.canvas.frame(card.frame, area, smooth=False)
            chosen = number == self.at["world"]
            if not chosen:
                self.canvas.shade(area)
            pygame.draw.rect(self.canvas.surface, MARK if chosen else FAINT, area.inflate(6, 6), 3)
            colour = MARK if chosen and self.row == 0 else WHITE if chosen else DIM
            self.canvas.text(self._title(card), (left, area.bottom + 6), colour=colour)
            self.places.append((area, "world", number))
            left += max(side, self.canvas.width(self._title(card))) + MARGIN
        return MARGIN + side + 6 + line

    def _draw_row(self, row: str, area: Any) -> None:
        chosen = self.rows[self.row] == row
        names = {"who": "who plays", "view": "view", "temperature": "temperature"}
        options = self._options(row)
        text = options[min(self.at[row], len(options) - 1)][1]
        colour = MARK if chosen else WHITE
        self.canvas.text(names[row], area.topleft, colour=MARK if chosen else DIM)
        self.canvas.text(f"<  {text}  >" if chosen else f"   {text}", (area.left + 112, area.top), colour=colour)
        self.places.append((area, row, -1))

    def _draw_foot(self, area: Any) -> None:
        keys = "arrows: choose    H: help    Q: quit"
        start = self.canvas.text("Enter: play", area.topleft, colour=MARK)
        self.canvas.text(keys, (start.right + 24, area.top), colour=DIM)
        self.places.append((start.inflate(16, 8), "start", 0))
