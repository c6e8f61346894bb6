"""Keyboard, mouse and gamepad: pygame events become the player's commands."""

from __future__ import annotations

import contextlib
from typing import Any

import pygame

from player.commands import press, release
from player.drivers import DIGITS
from player.latent_editor import LIMIT
from player.player import TEMPERATURES, Player

PUSHED = 0.5  # position of a gamepad stick, of 1, from which it counts as pushed
KEYS = {
    pygame.K_LEFT: "left", pygame.K_a: "left", pygame.K_RIGHT: "right", pygame.K_d: "right",
    pygame.K_UP: "up", pygame.K_w: "up", pygame.K_DOWN: "down", pygame.K_s: "down",
    pygame.K_LEFTBRACKET: "cooler", pygame.K_RIGHTBRACKET: "warmer", pygame.K_r: "reset", pygame.K_m: "driver",
    pygame.K_c: "controller", pygame.K_v: "view", pygame.K_TAB: "view", pygame.K_y: "synchronise", pygame.K_e: "step",
    pygame.K_l: "editor", pygame.K_RETURN: "enter", pygame.K_g: "saving", pygame.K_PERIOD: "paused",
    pygame.K_SPACE: "paused", pygame.K_p: "paused", pygame.K_h: "help", pygame.K_b: "smooth",
    pygame.K_q: "quitting", pygame.K_ESCAPE: "leave",
} | {getattr(pygame, f"K_{digit}"): digit for digit in DIGITS}  # fmt: skip
TYPED = {"[": "cooler", "]": "warmer"}  # many keyboards have no bracket keys: these are recognised by their character


def command_of(event: Any) -> str | None:
    """The command of a key event."""
    return TYPED.get(getattr(event, "unicode", "")) or KEYS.get(event.key)


class Controls:
    """Passes events to the player. The screen says where its sliders lie."""

    def __init__(self) -> None:
        self.slider: Any = None  # area of the temperature slider
        self.sliders: dict[int, Any] = {}  # areas of the editor's sliders, by position
        self.sticks: list[Any] = []
        self.pushed: dict[int, str] = {}  # direction of each gamepad axis

    def handle(self, event: Any, player: Player) -> None:
        """Pass a pygame event to the player, as a command."""
        if event.type == pygame.QUIT:
            player.quitting = True
        elif event.type == pygame.WINDOWFOCUSLOST:
            player.keys.held.clear()  # another window gets the release of the key
        elif event.type in (pygame.KEYDOWN, pygame.KEYUP):
            command = command_of(event)
            if command:
                (press if event.type == pygame.KEYDOWN else release)(player, command)
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
            if event.type == pygame.JOYBUTTONUP:
                release(player, command)
            else:
                press(player, "enter" if player.over and player.pace.wait else command)  # enter: a new game

    def _push(self, axis: int, value: float, player: Player) -> None:
        names = ("left", "right") if axis % 2 == 0 else ("down", "up")
        now = names[int(value > 0)] if abs(value) > PUSHED else ""
        before = self.pushed.get(axis, "")
        if now != before:
            if before:
                release(player, before)
            if now:
                press(player, now)
            self.pushed[axis] = now
