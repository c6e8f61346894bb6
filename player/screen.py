"""The pygame screen: draws a `Player`, and passes keyboard, mouse and gamepad events to it."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pygame

from player.latent_editor import LIMIT, Editor
from player.player import EDITOR_HELP, TEMPERATURES, Player

WINDOW = (640, 640)
WHITE, DIM, MARK = (255, 255, 255), (150, 150, 150), (255, 170, 60)
PUSHED = 0.5  # position of a gamepad stick, of 1, from which it counts as pushed


class Screen:
    """Draws the player and handles its input. It needs a display only for `open`."""

    def __init__(self) -> None:
        pygame.font.init()
        self.fonts: dict[int, Any] = {}
        self.slider: Any = None  # area of the temperature slider
        self.sliders: dict[int, Any] = {}  # areas of the editor's sliders, by position
        self.sticks: list[Any] = []
        self.pushed: dict[int, str] = {}  # direction of each gamepad axis
        self.keys = {
            pygame.K_LEFT: "left", pygame.K_a: "left", pygame.K_RIGHT: "right", pygame.K_d: "right",
            pygame.K_UP: "up", pygame.K_w: "up", pygame.K_DOWN: "down", pygame.K_s: "down",
            pygame.K_LEFTBRACKET: "cooler", pygame.K_RIGHTBRACKET: "warmer", pygame.K_r: "reset", pygame.K_m: "driver",
            pygame.K_v: "view", pygame.K_TAB: "view", pygame.K_y: "synchronise", pygame.K_e: "step",
            pygame.K_l: "editor", pygame.K_RETURN: "enter", pygame.K_g: "saving", pygame.K_PERIOD: "paused",
            pygame.K_SPACE: "paused", pygame.K_p: "paused", pygame.K_h: "help",
            pygame.K_q: "quitting", pygame.K_ESCAPE: "quitting",
        }  # fmt: skip

    def open(self, title: str, views: int = 1) -> bool:
        """Open a window for so many views side by side; returns False if there is no display."""
        try:
            pygame.display.init()
            # Without a display, SDL falls back to an invisible one. It is accepted only if it was requested.
            if pygame.display.get_driver() in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
                return False
            pygame.display.set_caption(title)
            pygame.display.set_mode((WINDOW[0] * views, WINDOW[1]), pygame.RESIZABLE)
        except pygame.error:
            return False
        with contextlib.suppress(pygame.error):  # no gamepad, or a broken one
            pygame.joystick.init()
        return True

    # --- input ------------------------------------------------------------------------------------------

    def handle(self, event: Any, player: Player) -> None:
        """Pass a pygame event to the player, as a command."""
        if event.type == pygame.QUIT:
            player.quitting = True
        elif event.type == pygame.WINDOWFOCUSLOST:
            player.held.clear()  # another window gets the release of the key
        elif event.type in (pygame.KEYDOWN, pygame.KEYUP):
            # Many keyboards have no bracket keys, so brackets are recognised by their character.
            typed = {"[": "cooler", "]": "warmer"}.get(getattr(event, "unicode", ""))
            command = typed or self.keys.get(event.key)
            if command:
                (player.press if event.type == pygame.KEYDOWN else player.release)(command)
        elif event.type == pygame.MOUSEBUTTONDOWN or (event.type == pygame.MOUSEMOTION and any(event.buttons)):
            self._drag(event.pos, player)
        else:
            self._gamepad(event, player)

    def _drag(self, at: tuple[int, int], player: Player) -> None:
        if self.slider and self.slider.collidepoint(at):
            low, high = TEMPERATURES
            player.temperature = low + (high - low) * (at[0] - self.slider.left) / self.slider.width
        for position, area in self.sliders.items():
            if player.editor and area.collidepoint(at):
                player.editor.set(position, LIMIT * (2 * (at[0] - area.left) / area.width - 1))

    def _gamepad(self, event: Any, player: Player) -> None:
        """The stick or the cross moves, the first two buttons are up and down, the others pause."""
        if event.type == pygame.JOYDEVICEADDED:
            with contextlib.suppress(pygame.error):
                self.sticks.append(pygame.joystick.Joystick(event.device_index))  # sends events only while referenced
        elif event.type == pygame.JOYAXISMOTION and event.axis < 2:
            self._push(event.axis, event.value if event.axis == 0 else -event.value, player)
        elif event.type == pygame.JOYHATMOTION:
            for axis in (0, 1):
                self._push(2 + axis, event.value[axis], player)
        elif event.type in (pygame.JOYBUTTONDOWN, pygame.JOYBUTTONUP):
            command = {0: "up", 1: "down"}.get(event.button, "paused")
            if event.type == pygame.JOYBUTTONDOWN:
                player.press(command)
            else:
                player.release(command)

    def _push(self, axis: int, value: float, player: Player) -> None:
        names = ("left", "right") if axis % 2 == 0 else ("down", "up")
        now = names[int(value > 0)] if abs(value) > PUSHED else ""
        before = self.pushed.get(axis, "")
        if now != before:
            if before:
                player.release(before)
            if now:
                player.press(now)
            self.pushed[axis] = now

    # --- drawing ----------------------------------------------------------------------------------------

    def draw(self, player: Player, size: tuple[int, int]) -> Any:
        """A surface of `size` (width, height) with the frames side by side, as large as fits, and the HUD on top."""
        picture = pygame.Surface(size)
        frames = player.frames()
        side = max(min(size[0] // player.panels, size[1]), 1)
        area = pygame.Rect(0, 0, side * player.panels, side)
        area.center = (size[0] // 2, size[1] // 2)
        letters = max(side // 20 if player.help else side // 16, 14)
        height = self._font(letters).get_linesize() + 4
        for number, (name, frame) in enumerate(frames):
            surface = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
            corner = (area.left + number * side, area.top)
            picture.blit(pygame.transform.scale(surface, (side, side)), corner)  # nearest neighbour keeps pixels sharp
            if len(frames) > 1:
                self._line(picture, letters, [name], pygame.Rect(corner[0], area.top + height, side, height))
        self.sliders = {}
        if player.editor:
            self._editor(picture, player.editor, pygame.Rect(area.left + side, area.top, side, side), height)
        upper, lower = player.hud()
        self._line(picture, letters, upper, pygame.Rect(area.left, area.top, area.width, height))
        self._line(picture, letters, lower, pygame.Rect(area.left, area.bottom - height, area.width, height))
        self._temperature(picture, player, pygame.Rect(area.left, area.bottom - height - 8, area.width, 8))
        message = [EDITOR_HELP] if player.editor and not player.message() else player.message()
        top = area.centery - len(message) * height // 2 if not player.editor else area.bottom - 2 * height - 8
        for number, text in enumerate(message):
            self._line(picture, letters, [text], pygame.Rect(area.left, top + number * height, area.width, height))
        return picture

    def _temperature(self, picture: Any, player: Player, area: Any) -> None:
        """Draw the temperature slider, which can be dragged."""
        low, high = TEMPERATURES
        pygame.draw.rect(picture, DIM, area.inflate(0, -6))
        fraction = (player.temperature - low) / (high - low)
        pygame.draw.rect(picture, MARK, pygame.Rect(area.left + fraction * (area.width - 8), area.top, 8, area.height))
        self.slider = area.inflate(0, 10)

    def _editor(self, picture: Any, editor: Editor, area: Any, height: int) -> None:
        """Draw a slider for each dimension in view."""
        font, shown = self._font(max(area.height // 32, 12)), editor.shown
        row = (area.height - 4 * height) / len(shown)
        for number, position in enumerate(shown):
            top = area.top + 1.2 * height + number * row
            colour = MARK if position == editor.at else WHITE
            label = font.render(f"{editor.order[position]:2d}  {editor.value(position):+.2f}", True, colour)
            picture.blit(label, (area.left + 6, top))
            line = pygame.Rect(area.left + area.width // 4, int(top), area.width * 3 // 4 - 12, int(row))
            pygame.draw.line(picture, DIM, line.midleft, line.midright)
            left = int(line.left + (editor.value(position) / LIMIT + 1) / 2 * line.width)
            pygame.draw.circle(picture, colour, (left, line.centery), max(int(row // 4), 3))
            self.sliders[position] = line

    def _font(self, size: int) -> Any:
        if size not in self.fonts:
            self.fonts[size] = pygame.font.Font(None, size)
        return self.fonts[size]

    def _line(self, picture: Any, size: int, words: list[str], area: Any) -> None:
        """Draw words on a dark strip, spread from left to right, in a smaller font if they do not fit."""
        while size > 8 and sum(self._font(size).size(word)[0] + 12 for word in words) > area.width:
            size -= 1
        font = self._font(size)
        strip = pygame.Surface(area.size, pygame.SRCALPHA)
        strip.fill((0, 0, 0, 150))
        picture.blit(strip, area)
        for number, word in enumerate(words):
            text = font.render(word, True, WHITE)
            fraction = number / (len(words) - 1) if len(words) > 1 else 0.5
            left = area.left + 6 + fraction * (area.width - 12 - text.get_width())
            picture.blit(text, (left, area.top + 2))
