"""Keys, mouse and gamepad."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest

from player.guides import HELP
from player.hud import scene_of
from player.options import Options
from player.player import Player
from player.screen import Screen
from player.session import Session
from tests.player.helpers import CONTROLS, keys, make_player, send, tick
from wm_envs.games.random_play import held_actions


def spy(player: Player, monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    actions: list[list[float]] = []
    step = player.views.dream.env.step

    def listen(action: Any) -> Any:
        actions.append(action.tolist())
        return step(action)

    monkeypatch.setattr(player.views.dream.env, "step", listen)
    return actions


@pytest.mark.parametrize(("key", "action"), [("LEFT", -1), ("a", -1), ("RIGHT", 1), ("d", 1)])
def test_held_key_moves_until_released(world: str, monkeypatch: pytest.MonkeyPatch, key: str, action: int) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    keys(player, key)
    tick(player, 8)
    keys(player, key, up=True)
    tick(player, 4)
    assert actions == [[action], [action], [0]]


def test_car_steers_and_brakes_at_the_same_time(tiny_drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player = make_player(tiny_drive)
    actions = spy(player, monkeypatch)
    for key in ("UP", "LEFT", "s"):  # gas, gas and left, brake and left
        keys(player, key)
        tick(player, 8)
    np.testing.assert_allclose(actions, [[0, 1, 0], [-1, 1, 0], [-1, -1, 0.8]])


def test_tap_between_two_steps_counts_once(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    tick(player, 2)
    keys(player, "LEFT")
    keys(player, "LEFT", up=True)
    tick(player, 10)
    assert actions == [[0], [-1], [0]]


def test_last_key_counts_and_lost_focus_releases(world: str, window: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    keys(player, "LEFT", "d")
    tick(player, 4)
    keys(player, "d", up=True)
    tick(player, 4)
    send(window, player, pygame.WINDOWFOCUSLOST)
    keys(player, "LEFT", up=True)
    tick(player, 4)
    assert actions == [[1], [-1], [0]]


def test_gamepad_moves(window: Screen, tiny_world: Path) -> None:
    player = make_player(tiny_world, "random")
    held = player.driver.keys.held
    send(window, player, pygame.JOYAXISMOTION, axis=0, value=-0.9)
    assert held == ["left"]
    send(window, player, pygame.JOYAXISMOTION, axis=0, value=0.8)
    assert held == ["right"]
    send(window, player, pygame.JOYAXISMOTION, axis=0, value=0.1)
    send(window, player, pygame.JOYHATMOTION, value=(0, 1))
    assert held == ["up"]
    send(window, player, pygame.JOYHATMOTION, value=(0, 0))
    send(window, player, pygame.JOYBUTTONDOWN, button=1)
    assert held == ["down"]
    send(window, player, pygame.JOYBUTTONUP, button=1)
    send(window, player, pygame.JOYBUTTONDOWN, button=7)
    assert held == [] and "pause" in player.settings
    send(window, player, pygame.JOYAXISMOTION, axis=4, value=1.0)
    send(window, player, pygame.JOYDEVICEADDED, device_index=99)  # an unplugged gamepad
    assert held == [] and CONTROLS.gamepads == []


def test_random_actions_are_the_games_random_play(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    player = make_player(world, "random", seed=3)
    actions = spy(player, monkeypatch)
    tick(player, 800)
    play = held_actions(player.views.dream.world.task, np.random.default_rng(3))
    np.testing.assert_array_equal(actions, list(islice(play, 0, 800, player.clock.frame_skip)))


def test_brackets_change_the_temperature_within_limits(world: str, window: Screen) -> None:
    player = make_player(world)
    keys(player, "RIGHTBRACKET")
    assert player.temperature == 1.05
    send(window, player, pygame.KEYDOWN, key=pygame.K_5, unicode="[")  # AltGr and a digit, on a German keyboard
    assert player.temperature == 1.0
    keys(player, *["RIGHTBRACKET"] * 60)
    assert player.temperature == 3.0
    keys(player, *["LEFTBRACKET"] * 80)
    assert player.temperature == 0.05
    tick(player, 4)
    assert scene_of(player).temperature == "temperature 0.05"


def test_slider_sets_the_temperature(window: Screen, tiny_world: Path) -> None:
    player = make_player(tiny_world)
    window.draw(scene_of(player), (640, 640))
    slider = window.sliders["temperature"]
    for left, expected in ((slider.left, 0.05), (slider.left + slider.width // 2, 1.525)):
        send(window, player, pygame.MOUSEBUTTONDOWN, pos=(left, slider.centery), button=1)
        assert player.temperature == pytest.approx(expected, abs=0.01)
    send(window, player, pygame.MOUSEMOTION, pos=slider.midright, buttons=(0, 0, 0))
    assert player.temperature == pytest.approx(1.525, abs=0.01), "not dragged"


@pytest.mark.parametrize("key", ["SPACE", "p", "PERIOD", "h"])
def test_pause_and_help_stop_time(world: str, key: str) -> None:
    player = make_player(world)
    keys(player, key)
    tick(player, 5)
    assert player.clock.played == 0
    assert scene_of(player).message == (list(HELP) if key == "h" else ["paused", "P: go on"])
    keys(player, key)
    tick(player, 5)
    assert player.clock.played == 5
    assert scene_of(player).message == []


def test_e_takes_one_step_and_pauses(tiny_world: Path) -> None:
    player = make_player(tiny_world, "random")
    keys(player, "e", "e")
    steps = 2 * player.clock.frame_skip
    assert "pause" in player.settings and player.views.dream.ticks == steps == player.clock.played
    keys(player, "l", "e", "l")
    assert player.clock.played == steps, "no steps while the editor is open"
    tick(player, 9)
    assert player.clock.played == steps


def test_m_switches_between_the_drivers(world: str, tiny_drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player = make_player(world)
    actions = spy(player, monkeypatch)
    keys(player, "m")
    assert scene_of(player).driver == "controller 'right'"
    tick(player, 4)
    keys(player, "m")
    assert player.driver.kind == "random"
    keys(player, "m")
    tick(player, 4)
    assert actions == [[pytest.approx(np.tanh(3.0))], [0]]
    alone = make_player(tiny_drive)
    keys(alone, "m")
    assert alone.driver.kind == "random", "this world has no controller"


def test_c_takes_the_next_controller() -> None:
    player = make_player("carracing")
    keys(player, "c")
    assert player.driver.name == "controller"
    keys(player, "c")
    assert player.driver.name == "careful"
    assert scene_of(player).message == ["controller 'careful' is in control"]
    tick(player, 4)
    assert player.scoreboard.eligible is None, "two drivers in one game: it does not count"


@pytest.mark.parametrize("event", [(pygame.KEYDOWN, pygame.K_q), (pygame.KEYDOWN, pygame.K_ESCAPE), (pygame.QUIT, 0)])
def test_keys_and_closing_the_window_quit(world: str, window: Screen, event: tuple[int, int]) -> None:
    player = make_player(world)
    pygame.event.post(pygame.event.Event(event[0], key=event[1]))
    Session(window, True, Options()).run(player, steps=1000)
    assert player.clock.played == 1


def test_other_keys_do_nothing(world: str) -> None:
    player = make_player(world)
    before = dict(vars(player))
    keys(player, "z")
    keys(player, "z", "LEFT", up=True)  # LEFT was pressed in another window
    assert vars(player) == before and player.driver.keys.held == []
