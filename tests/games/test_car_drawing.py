"""CarRacing's renderers: the same game, with the same picture ("exact") or a similar one ("fast")."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.helpers import held, load_script
from wm_envs.games.car_racing.dependencies import CarRacing
from wm_envs.games.car_racing.fast_car_racing import FastCarRacing
from wm_envs.games.car_racing.scene import crop
from wm_envs.games.car_racing.task import FAST_RENDERERS

bench = load_script("benchmarks/car_racing.py")


def side_by_side(first: Any, second: Any, seed: int, actions: Any, bars: set[str] | None = None) -> Iterator[Any]:
    """Play both games to the end of the episode; yield both pictures, and assert that all else is equal."""
    pictures = [env.reset(seed=seed)[0] for env in (first, second)]
    assert first.track == second.track
    yield pictures
    for action in actions:
        (x, *rest), (y, *others) = first.step(action), second.step(action)
        assert rest == others
        assert first.np_random.bit_generator.state == second.np_random.bit_generator.state
        if bars is not None:
            bars |= indicators(first)
        yield x, y
        if rest[1]:
            break


def indicators(env: CarRacing) -> set[str]:
    """The indicators that are visible."""
    hull, wheels = env.car.hull, env.car.wheels
    values = {"speed": hull.linearVelocity.length, "steering": wheels[0].joint.angle, "gyro": hull.angularVelocity}
    values |= {f"wheel {number}": wheel.omega for number, wheel in enumerate(wheels)}
    return {name for name, value in values.items() if abs(value) > 1e-4}


@pytest.fixture
def stock_without_pictures(monkeypatch: pytest.MonkeyPatch) -> CarRacing:
    """Gymnasium's game without drawing, to play whole episodes fast."""
    monkeypatch.setattr(CarRacing, "_render", lambda self, mode: None)
    return CarRacing()


@pytest.mark.parametrize("randomize", [False, True])
def test_exact_renderer_matches_every_byte(randomize: bool) -> None:
    stock, exact = CarRacing(domain_randomize=randomize), FastCarRacing("exact", domain_randomize=randomize)
    for env in (stock, exact):
        env.reset(seed=1)  # colours of the first episode are not drawn from the seed
    bars: set[str] = set()
    for x, y in side_by_side(stock, exact, 2, held(2, 120), bars):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(x, y)
    assert len(bars) == 7, "an indicator was never visible"


def test_exact_renderer_matches_beyond_the_playfield() -> None:
    """The car drives straight ahead, over the edge of the playfield; the first 200 ticks are not drawn."""
    stock, exact = CarRacing(), FastCarRacing("exact")
    ahead = np.array([0, 0.5, 0], np.float32)
    draw, stock._render = stock._render, lambda mode: None  # type: ignore[method-assign]
    ticks = 0
    for x, y in side_by_side(stock, exact, 0, [ahead] * 1000):
        ticks += 1
        if ticks == 200:
            stock._render = draw  # type: ignore[method-assign]
        if x is not None:
            np.testing.assert_array_equal(x, y)
    assert (y[:20] == 0).all(), "beyond the edge the picture is black"
    assert 200 < ticks < 1000 and math.hypot(*exact.car.hull.position) > 300


def test_indicators_taller_than_their_panel() -> None:
    stock, exact = CarRacing(), FastCarRacing("exact")
    for env in (stock, exact):
        env.reset(seed=3)
        env.step(np.zeros(3))
        env.car.wheels[0].omega = 700.0
    np.testing.assert_array_equal(stock._render("state_pixels"), exact._render("state_pixels"))
    assert tuple(exact._render("state_pixels")[80, 17]) != tuple(exact._render("state_pixels")[80, 80])


def test_exact_renderer_survives_pygame_quit() -> None:
    """Closing a window quits pygame, which frees all fonts."""
    window, stock, exact = CarRacing("human"), CarRacing(), FastCarRacing("exact")
    for number, (x, y) in enumerate(side_by_side(stock, exact, 11, held(11, 6))):
        np.testing.assert_array_equal(x, y)
        if number == 2:
            window.reset(seed=0)
            window.close()
            stock.reward = exact.reward = stock.prev_reward = exact.prev_reward = 321.0  # a text that is not cached


@pytest.mark.parametrize("continuous", [True, False])
def test_render_matches_car_racing(continuous: bool) -> None:
    envs = [CarRacing("rgb_array", continuous=continuous), FastCarRacing("fast", "rgb_array", continuous=continuous)]
    for env in envs:
        env.reset(seed=5)
        for _ in range(3):
            env.step(np.array([0.5, 0.5, 0.0]) if continuous else 3)
    stock, fast = (env.render() for env in envs)
    assert fast.shape == (400, 600, 3)
    np.testing.assert_array_equal(stock, fast)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_exact_renderer_matches_whole_episodes(seed: int) -> None:
    randomize = seed % 4 == 3
    stock, exact = CarRacing(domain_randomize=randomize), FastCarRacing("exact", domain_randomize=randomize)
    for env in (stock, exact):
        env.reset(seed=0)
    actions = held(seed, 1000) if seed % 3 == 0 else bench.driven(seed, 1000, sloppiness=(0.3, 1.0)[seed % 2])
    for x, y in side_by_side(stock, exact, seed, actions):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("kwargs", [{}, {"lap_complete_percent": 0.5}, {"domain_randomize": True}])
def test_game_matches_car_racing(kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CarRacing, "_render", lambda self, mode: None)
    stock, fast = CarRacing(**kwargs), FastCarRacing("fast", **kwargs)
    for env in (stock, fast):
        env.reset(seed=0)
    for seed in range(3):
        actions = held(seed, 300) if seed else bench.driven(seed, 1200, sloppiness=0.0)
        ticks = sum(1 for _ in side_by_side(stock, fast, seed, actions))
        assert seed or ticks < 1200, "the lap was not completed"
        assert stock.tile_visited_count == fast.tile_visited_count and stock.new_lap == fast.new_lap
        assert stock.car.hull.position == fast.car.hull.position and stock.reward == fast.reward
        assert [tuple(tile.color) for tile in stock.road] == [tuple(tile.color) for tile in fast.road]


def test_discrete_actions_match_car_racing(stock_without_pictures: CarRacing, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = CarRacing(continuous=False)
    for _ in side_by_side(stock, FastCarRacing("fast", continuous=False), 4, [3, 3, 3, 1, 1, 2, 4, 0] * 10):
        pass
    assert stock.reward > 0


def test_fast_renderer_is_close_to_car_racing() -> None:
    errors, pairs = bench.pixel_errors(range(2), 90)
    assert pairs[0].shape == (64, 3 * 64, 3)
    assert errors.mean() < 0.7 and errors[60:].mean() < 0.6 and errors.max() < 2, "of 255"


def test_fast_renderer_off_the_road_and_in_other_colours() -> None:
    stock, fast = CarRacing(domain_randomize=True), FastCarRacing("fast", domain_randomize=True)
    for env in (stock, fast):
        env.reset(seed=1)
    frames = [(crop(x), y) for x, y in side_by_side(stock, fast, 6, held(6, 100))]
    assert np.mean([np.abs(x.astype(int) - y).mean() for x, y in frames]) < 0.7


@pytest.mark.parametrize("renderer", FAST_RENDERERS)
def test_same_seed_gives_the_same_frames(renderer: str) -> None:
    env = FastCarRacing(renderer)

    def play(seed: int) -> list[bytes]:
        frames = [env.reset(seed=seed)[0]] + [env.step(action)[0] for action in held(seed, 60)]
        assert all(frame.shape == env.observation_space.shape for frame in frames)
        assert not any(np.shares_memory(frames[-1], frame) for frame in frames[:-1])
        return [frame.tobytes() for frame in frames]

    first = play(7)
    assert play(8) != first and play(7) == first
    env = FastCarRacing(renderer)
    assert play(7) == first
