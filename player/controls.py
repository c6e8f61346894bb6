"""Keyboard, mouse and gamepad: pygame events become commands, of the player or of the start screen."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

import pygame

PUSHED = 0.5  # position of a gamepad stick, of 1, from which it counts as pushed
KEYS = {
    pygame.K_LEFT: "left", pygame.K_a: "left", pygame.K_RIGHT: "right", pygame.K_d: "right",
    pygame.K_UP: "up", pygame.K_w: "up", pygame.K_DOWN: "down", pygame.K_s: "down",
    pygame.K_LEFTBRACKET: "cooler", pygame.K_RIGHTBRACKET: "warmer", pygame.K_r: "reset", pygame.K_m: "driver",
    pygame.K_c: "controller", pygame.K_v: "view", pygame.K_TAB: "view", pygame.K_y: "synchronise", pygame.K_e: "step",
    pygame.K_l: "editor", pygame.K_RETURN: "enter", pygame.K_g: "save", pygame.K_PERIOD: "pause",
    pygame.K_SPACE: "pause", pygame.K_p: "pause", pygame.K_h: "help", pygame.K_b: "smooth",
    pygame.K_q: "quit", pygame.K_ESCAPE: "leave",
} | {getattr(pygame, f"K_{digit}"): str(digit) for digit in range(10)}  # fmt: skip
TYPED = {"[": "cooler", "]": "warmer"}  # many keyboards have no bracket keys: these are recognised by their character


class Receiver(Protocol):
    """What receives commands: those of KEYS, and "button 0", "button 1" ... of a gamepad."""

    def press(self, command: str) -> None:
        """A command begins."""

    def release(self, command: str) -> None:
        """A command ends."""

    def point(self, at: tuple[int, int], pressed: bool) -> None:
        """The mouse is at a point with a button held: `pressed` now, or dragged."""


class Controls:
    """Turns events into commands; it keeps the gamepads open, and knows how their sticks stand."""

    def __init__(self) -> None:
        self.gamepads: list[Any] = []
        self.pushed: dict[int, str] = {}  # direction of each gamepad axis

    def handle(self, event: Any, receiver: Receiver) -> None:
        """Pass a pygame event on, as a command."""
        if event.type == pygame.QUIT:
            receiver.press("quit")
        elif event.type == pygame.WINDOWFOCUSLOST:
            for command in KEYS.values():  # another window gets the release of the keys
                receiver.release(command)
        elif event.type in (pygame.KEYDOWN, pygame.KEYUP):
            command = TYPED.get(getattr(event, "unicode", "")) or KEYS.get(event.key)
            if command:
                (receiver.press if event.type == pygame.KEYDOWN else receiver.release)(command)
        elif event.type == pygame.MOUSEBUTTONDOWN or (event.type == pygame.MOUSEMOTION and any(event.buttons)):
            receiver.point(event.pos, event.type == pygame.MOUSEBUTTONDOWN)
        else:
            self._gamepad(event, receiver)

    def _gamepad(self, event: Any, receiver: Receiver) -> None:
        """The stick and the cross are directions."""
        if event.type == pygame.JOYDEVICEADDED:
            with contextlib.suppress(pygame.error):
                self.gamepads.append(pygame.joystick.Joystick(event.device_index))  # sends events while referenced
        elif event.type == pygame.JOYAXISMOTION and event.axis < 2:
            self._push(event.axis, event.value if event.axis == 0 else -event.value, receiver)
        elif event.type == pygame.JOYHATMOTION:
            for axis in (0, 1):
                self._push(2 + axis, event.value[axis], receiver)
        elif event.type == pygame.JOYBUTTONDOWN:
            receiver.press(f"button {event.button}")
        elif event.type == pygame.JOYBUTTONUP:
            receiver.release(f"button {event.button}")

    def _push(self, axis: int, value: float, receiver: Receiver) -> None:
        names = ("left", "right") if axis % 2 == 0 else ("down", "up")
        after = names[int(value > 0)] if abs(value) > PUSHED else ""
        before = self.pushed.get(axis, "")
        if after != before:
            if before:
                receiver.release(before)
            if after:
                receiver.press(after)
            self.pushed[axis] = after
