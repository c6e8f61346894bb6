"""The player as a game: countdown, rising temperature, replay, controllers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.helpers import make_world

pygame = pytest.importorskip("pygame")
pytest.importorskip("PIL")


import play  # noqa: E402
from player.commands import press  # noqa: E402
from player.difficulty import RisingTemperature  # noqa: E402
from player.drivers import load_controllers  # noqa: E402
from player.hud import message  # noqa: E402
from player.player import Pace, Player  # noqa: E402
from player.replay import SLOWER, Replay  # noqa: E402


def game(world: str, driver: str = "you", pace: Pace | None = None, **more: Any) -> Player:
    env = gym.make("WMDream-v0", world=world, render_mode="rgb_array")
    return Player(env, driver, load_controllers(world), 0, pace=pace or Pace(wait=True), **more)


def tick(player: Player, ticks: int) -> None:
    for _ in range(ticks):
        player.tick()


@pytest.fixture
def short(tmp_path: Path) -> str:
    """A world whose dreams end at once."""
    return make_world(tmp_path / "short", end_bias=50.0)


def test_countdown_comes_before_your_game_and_help_stops_it(world: str) -> None:
    player = game(world, pace=Pace(countdown=6))
    assert message(player)[0] == "3"
    tick(player, 4)
    assert message(player)[0] == "1"
    press(player, "help")
    tick(player, 5)
    press(player, "help")
    tick(player, 2)
    assert player.played == 0
    tick(player, 3)
    assert player.played == 3
    assert game(world, "controller", Pace(countdown=6)).countdown == 0


def test_your_game_ends_with_a_slow_replay_and_waits_for_r(short: str) -> None:
    player = game(short, pace=Pace(end=2, replay=3, wait=True))
    tick(player, 4)
    last = [frames[0][1] for frames in player.replay.ticks]
    assert len(last) == 3
    tick(player, 200)
    assert message(player)[-1] == "R: play again" and player.played == 4
    player.waited = SLOWER + 1
    assert np.array_equal(player.frames()[0][1], last[1])
    assert not player.recordable or player.waited <= player.replay.length
    press(player, "reset")
    assert message(player) == [] and not player.replay.ticks
    controlled = game(short, "controller", Pace(end=2, wait=True))
    tick(controlled, 4 + 3)
    assert not controlled.over, "a controller's next game starts by itself"


def test_replay_repeats() -> None:
    replay = Replay(2)
    assert replay.frames(0) is None
    frames = [[("dream", np.full((64, 64, 3), value, np.uint8))] for value in range(3)]
    for frame in frames:
        replay.add(frame)
    assert replay.length == 2 * SLOWER
    assert [replay.frames(waited) for waited in (0, SLOWER, 2 * SLOWER)] == [frames[1], frames[2], frames[1]]


def test_temperature_rises_until_you_choose_one(world: str) -> None:
    rising = RisingTemperature(2.0)
    player = game(world, rising=rising)
    first = player.temperature
    assert first == pytest.approx(1.0)
    tick(player, 40)
    assert first < player.temperature < 2.0
    rising.games = 100
    assert rising.at(0) == 2.0
    press(player, "driver")  # the controller plays at the world's own temperature
    tick(player, 4)
    assert player.temperature == 2.0
    press(player, "warmer")
    tick(player, 8)
    assert player.rising is None and player.temperature == 2.05


def test_c_takes_the_next_controller() -> None:
    player = game("carracing")
    press(player, "controller")
    assert player.name == "controller"
    press(player, "controller")
    assert player.name == "careful" and message(player) == ["the controller 'careful' plays"]
    tick(player, 4)
    assert player.fair is None, "two players in one game: it does not count"
    assert play.main(["--headless", "--world", "carracing", "--controller", "cat", "--steps", "4"]) == 2
