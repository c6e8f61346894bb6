"""The game behind the task: the same in every renderer, laps, costs, leaving the field, its settings and its end."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.helpers import fresh_process, held, load_script
from wm_envs.envs.checks import game_kwargs
from wm_envs.envs.spaces import action_space, game_actions
from wm_envs.errors import InvalidOption
from wm_envs.games.base import FRAME_SHAPE
from wm_envs.games.car_racing.exact_renderer import ExactRenderer
from wm_envs.games.car_racing.fast_car_racing import FastCarRacing
from wm_envs.games.car_racing.game import CarRacingGame
from wm_envs.games.car_racing.scene import crop  # before Gymnasium's own: it loads Box2D without its warnings
from wm_envs.games.car_racing.small_renderer import SmallRenderer
from wm_envs.games.car_racing.task import CAR_RACING, FAST_RENDERERS, RENDERERS
from wm_envs.games.registry import TASKS

bench = load_script("benchmarks/car_racing.py")


@pytest.mark.parametrize("renderer", FAST_RENDERERS)
def test_ticks_nobody_looks_at_make_no_difference(renderer: str) -> None:
    leaping, walking = CarRacingGame(renderer), CarRacingGame(renderer)
    np.testing.assert_array_equal(leaping.reset(9), walking.reset(9))
    for action in held(9, 12):
        leap = leaping.advance(action, 4)
        walk = [walking.advance(action, 1) for _ in range(4)]
        assert leap.reward == pytest.approx(sum(tick.reward for tick in walk), abs=1e-9)
        assert leap.ticks == sum(tick.ticks for tick in walk) == 4 and not leap.terminated
        np.testing.assert_array_equal(leap.frame, walk[-1].frame)


def test_all_drawings_play_the_same_game() -> None:
    games = [CarRacingGame(renderer) for renderer in RENDERERS]
    reference = gym.make("CarRacing-v3")
    frames = [game.reset(10) for game in games]
    np.testing.assert_array_equal(frames[0], crop(reference.reset(seed=10)[0]))
    for action in held(10, 8):
        stock, exact, fast = (game.advance(action, 3) for game in games)
        expected = [reference.step(action) for _ in range(3)]
        assert stock.reward == exact.reward == fast.reward == sum(float(step[1]) for step in expected)
        np.testing.assert_array_equal(stock.frame, crop(expected[-1][0]))
        np.testing.assert_array_equal(stock.frame, exact.frame)
        assert fast.frame.shape == FRAME_SHAPE and fast.frame.dtype == np.uint8
    for game in games:
        game.close()
        game.close()


def test_a_lap() -> None:
    game = CarRacingGame()
    game.reset(3)
    total, ticks = 0.0, 0
    while True:
        tick = game.advance(bench.steer_along(game._env), 2)
        total, ticks = total + tick.reward, ticks + tick.ticks
        if tick.terminated:
            break
        assert not game.finished and ticks < 1000
    assert game.finished and tick.frame is None
    assert total == pytest.approx(1000 - 0.1 * ticks)  # every tile was visited
    game.reset(3)
    assert not game.finished


def test_leaving_the_field() -> None:
    game = CarRacingGame()
    game.reset(0)
    ahead = np.array([0, 0.5, 0], np.float32)
    whole = game.advance(ahead, 1000)
    assert whole.terminated and whole.frame is None and 100 < whole.ticks < 1000 and not game.finished
    game.reset(0)
    assert not game.advance(ahead, whole.ticks - 1).terminated
    last = game.advance(ahead, 5)
    assert last.terminated and last.ticks == 1 and last.reward == -100


def test_a_tick_off_the_road_costs_what_it_is_set_to() -> None:
    """Full gas straight on leaves the road at the first bend."""
    plain, costly = CAR_RACING.open(), CAR_RACING.open(off_road_cost=2.0)
    gas, off = np.array([0, 1, 0], np.float32), []
    for game in (plain, costly):
        game.reset(3)
    for _ in range(200):
        cheap, dear = plain.advance(gas, 1), costly.advance(gas, 1)
        on_road = any(wheel.tiles for wheel in plain._env.car.wheels)
        assert cheap.reward - dear.reward == pytest.approx(0 if on_road else 2)
        assert dear.reward + dear.cost == pytest.approx(cheap.reward) and cheap.cost == 0
        off.append(not on_road)
    assert 0 < sum(off) < 200


def test_the_task() -> None:
    assert TASKS["carracing"] is CAR_RACING and CAR_RACING.actions.size == 3
    given = np.array([[-1, -1, -1], [0.25, 0, 0.5], [1, 1, 1]], np.float32)
    game_action = CAR_RACING.actions.to_game(given)
    assert game_action.dtype == np.float32
    np.testing.assert_array_equal(game_action, np.array([[-1, 0, 0], [0.25, 0.5, 0.5], [1, 1, 1]], np.float32))
    np.testing.assert_array_equal(CAR_RACING.actions.to_game(given[1]), game_action[1])
    choices = CAR_RACING.actions.to_game(np.array(CAR_RACING.actions.discrete, np.float32))
    stock = [[0, 0, 0], [0.6, 0, 0], [-0.6, 0, 0], [0, 0.2, 0], [0, 0, 0.8]]
    np.testing.assert_allclose(choices[:5], stock, atol=1e-7)
    assert [index for index, choice in enumerate(choices) if choice[1] == 0] == list(CAR_RACING.random_play.idle)
    space, game = action_space(CAR_RACING, "continuous"), CAR_RACING.open()
    game.reset(0)
    for action in [*given, *(space.sample() for _ in range(20))]:
        assert game.advance(game_actions(CAR_RACING, "continuous", action[None], 1)[0], 1).ticks == 1
    for choice in range(len(choices)):
        assert game.advance(game_actions(CAR_RACING, "discrete", [choice], 1)[0], 1).ticks == 1
    assert game.reset(0).shape == FRAME_SHAPE
    assert isinstance(CAR_RACING.open(renderer="stock"), CarRacingGame)


@pytest.mark.parametrize(("renderer", "settings", "named"), [
    ("oils", {}, "renderer"), (None, {"laps": 2}, "setting"), (None, {"lap_complete_percent": 1.5}, "lap_complete"),
    (None, {"lap_complete_percent": "all"}, "lap_complete_percent"), (None, {"lap_complete_percent": math.nan}, "lap"),
])  # fmt: skip
def test_ways_to_open_it_that_are_refused(renderer: Any, settings: Any, named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        game_kwargs(CAR_RACING, renderer, settings)


@pytest.mark.parametrize("renderer", [None, "fast"])
def test_the_latent_game_takes_its_settings(tiny_drive: Any, renderer: str | None) -> None:
    kwargs = {"world": str(tiny_drive), "renderer": renderer, "lap_complete_percent": 1.0}
    env: Any = gym.make("WMTakeCover-v0", **kwargs)
    (game,) = env.unwrapped._vector._engine.games
    assert game._env.lap_complete_percent == 1.0 and isinstance(game._env, FastCarRacing)
    assert isinstance(game._env._renderer, SmallRenderer if renderer == "fast" else ExactRenderer)
    env.close()


def test_the_benchmark_runs(tmp_path: Any) -> None:
    rates = bench.measure(rounds=1, steps=5)
    assert rates["fast_over_stock"] > 0 and rates["exact_over_stock"] > 0
    bench.write_pairs(tmp_path / "pairs.png", bench.pixel_errors(range(1), 12)[1])
    assert (tmp_path / "pairs.png").stat().st_size > 1000


def test_a_game_that_is_closed_leaves_no_bodies() -> None:
    game = CarRacingGame("fast")
    game.reset(3)
    world = game._env.world
    assert len(world.bodies) > 100
    game.close()
    assert not world.bodies
    game.close()


def test_a_game_can_be_closed_when_its_start_was_interrupted() -> None:
    """In a process of its own: Box2D ends it when a body is destroyed twice."""
    code = (
        "from gymnasium.envs.box2d import car_racing\n"
        "from wm_envs.games.car_racing.game import CarRacingGame\n"
        "game = CarRacingGame('fast')\n"
        "game.reset(3)\n"
        "def interrupted(*_):\n    raise KeyboardInterrupt\n"
        "car_racing.Car = interrupted\n"
        "try:\n    game.reset(4)\nexcept KeyboardInterrupt:\n    game.close()\n    print('closed')\n"
    )
    assert fresh_process(code) == "closed\n"
