"""The start screen: keys, mouse, gamepad, options, and the way back to it."""

from dataclasses import replace

import pygame
import pytest

from player.controls import Controls
from player.options import Options
from player.screen import Screen
from player.session import Session
from player.start_screen import StartScreen, card_of
from tests.player.helpers import press
from wm_envs.errors import MissingPackage


@pytest.fixture
def start(world: str, window: Screen) -> StartScreen:
    return StartScreen(window.canvas, [card_of(world), card_of("carracing")], Options(world))


def send(start: StartScreen, kind: int, **values: object) -> None:
    Controls().handle(pygame.event.Event(kind, **values), start)


def key(start: StartScreen, *names: str) -> None:
    for name in names:
        send(start, pygame.KEYDOWN, key=getattr(pygame, f"K_{name}"))
        send(start, pygame.KEYUP, key=getattr(pygame, f"K_{name}"))


def chosen(start: StartScreen) -> tuple[object, ...]:
    return tuple(start.choice.values())


def test_keys_choose_world_driver_view_and_temperature(start: StartScreen, world: str) -> None:
    assert chosen(start) == (world, "you", "", "dream", None)
    key(start, "RIGHT", "DOWN", "RIGHT", "DOWN", "LEFT", "DOWN", "RIGHT", "h")
    assert chosen(start) == ("carracing", "controller", "controller", "both", 0.3)
    assert start.help and not start.started
    start.draw((640, 384))
    key(start, "h", "RETURN")
    assert start.started and not start.quitting
    key(start, "q")
    assert start.quitting


def test_mouse_chooses(start: StartScreen) -> None:
    start.draw((832, 576))
    for name in (("world", 1), ("view", -1), ("start", 0)):
        send(start, pygame.MOUSEMOTION, pos=start.areas[name].center, buttons=(1, 0, 0))  # no click
        send(start, pygame.MOUSEBUTTONDOWN, pos=start.areas[name].center, button=1)
    assert chosen(start) == ("carracing", "you", "", "game", None) and start.started


def test_gamepad_chooses(start: StartScreen, world: str) -> None:
    send(start, pygame.JOYHATMOTION, value=(0, -1))
    send(start, pygame.JOYAXISMOTION, axis=0, value=0.9)
    assert chosen(start) == (world, "controller", "right", "dream", None)
    send(start, pygame.JOYBUTTONDOWN, button=0)
    assert start.started


def test_options_are_chosen_at_first(window: Screen) -> None:
    options = Options("carracing", "dream", 0.7, "controller", "careful")
    start = StartScreen(window.canvas, [card_of("carracing")], options)
    assert replace(options, **start.choice) == options


def test_session_returns_to_the_start_screen(window: Screen, world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problems: list[str] = []

    def show(self: Session, start: StartScreen) -> bool:
        problems.append(start.problem)
        start.view.select("game" if len(problems) == 1 else "dream")
        return len(problems) < 3

    def missing(world: str, save: str) -> None:
        raise MissingPackage("x", "no package", "the extra", "pip")

    monkeypatch.setattr("player.session.shipped_worlds", lambda: [world])
    monkeypatch.setattr("player.player.GameView", missing)
    monkeypatch.setattr(Session, "_show", show)
    monkeypatch.setattr(Session, "run", lambda self, player, *rest: press(player, "leave"))
    Session(window, True, Options(world)).play_from_start_screen()
    assert "not installed" in problems[1], "the game cannot be opened: another choice"
    assert problems[2] == ""
