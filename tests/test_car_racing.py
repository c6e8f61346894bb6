"""CarRacing with other painters: the same game, the same bytes ("exact") or about the same picture ("fast")."""

from __future__ import annotations

import importlib.util
import math
import pickle
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import ROOT, fresh_process
from gymnasium.utils.env_checker import check_env

from wm_envs.car_drawing import CarRacing, crop  # before Gymnasium's own: it loads Box2D without its warnings
from wm_envs.car_racing import DRAWINGS, FastCarRacing
from wm_envs.car_racing_game import GAME_DRAWINGS, CarRacingGame
from wm_envs.errors import InvalidAction, InvalidOption, ResetNeeded
from wm_envs.spaces import action_space, executed_actions, how_to_open
from wm_envs.tasks import CAR_RACING, FRAME_SHAPE, TASKS


def load_benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("car_racing_benchmark", ROOT / "benchmarks" / "car_racing.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bench = load_benchmark()


def held(seed: int, steps: int) -> np.ndarray:
    """Random actions (T, 3), each held for a while, mostly on the gas: spins, skids, grass."""
    rng = np.random.default_rng(seed)
    blocks = rng.uniform((-1, 0, -2), (1, 1, 1), (steps, 3)).clip((-1, 0, 0), 1)
    return np.repeat(blocks, rng.integers(1, 40, steps), axis=0)[:steps].astype(np.float32)


def side_by_side(first: Any, second: Any, seed: int, actions: Any, bars: set[str] | None = None) -> Iterator[Any]:
    """Play both, asserting that all but the picture is equal; yield both pictures, to the episode's end."""
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
    """The bars that show."""
    hull, wheels = env.car.hull, env.car.wheels
    values = {"speed": hull.linearVelocity.length, "steering": wheels[0].joint.angle, "gyro": hull.angularVelocity}
    values |= {f"wheel {number}": wheel.omega for number, wheel in enumerate(wheels)}
    return {name for name, value in values.items() if abs(value) > 1e-4}


@pytest.fixture
def stock_without_pictures(monkeypatch: pytest.MonkeyPatch) -> CarRacing:
    """Gymnasium's game, not drawn: for whole episodes in no time."""
    monkeypatch.setattr(CarRacing, "_render", lambda self, mode: None)
    return CarRacing()


# --- exact: every byte --------------------------------------------------------------------------------


@pytest.mark.parametrize("randomize", [False, True])
def test_every_byte_is_stocks(randomize: bool) -> None:
    stock, exact = CarRacing(domain_randomize=randomize), FastCarRacing("exact", domain_randomize=randomize)
    for env in (stock, exact):
        env.reset(seed=1)  # colours of the first episode are not drawn from the seed
    bars: set[str] = set()
    for x, y in side_by_side(stock, exact, 2, held(2, 120), bars):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(x, y)
    assert len(bars) == 7, "an indicator never showed"


def test_every_byte_is_stocks_to_the_end_of_the_world() -> None:
    """Straight on, off the road and over the playfield's edge; the first 200 ticks are not drawn."""
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
    assert (y[:20] == 0).all(), "beyond the edge it is black"
    assert 200 < ticks < 1000 and math.hypot(*exact.car.hull.position) > 300


def test_bars_that_outgrow_their_panel() -> None:
    stock, exact = CarRacing(), FastCarRacing("exact")
    for env in (stock, exact):
        env.reset(seed=3)
        env.step(np.zeros(3))
        env.car.wheels[0].omega = 700.0
    np.testing.assert_array_equal(stock._render("state_pixels"), exact._render("state_pixels"))
    assert tuple(exact._render("state_pixels")[80, 17]) != tuple(exact._render("state_pixels")[80, 80])


def test_the_end_of_another_window_leaves_the_painter_its_font() -> None:
    """Closing a window ends pygame, which takes all fonts away."""
    window, stock, exact = CarRacing("human"), CarRacing(), FastCarRacing("exact")
    for number, (x, y) in enumerate(side_by_side(stock, exact, 11, held(11, 6))):
        np.testing.assert_array_equal(x, y)
        if number == 2:
            window.reset(seed=0)
            window.close()
            stock.reward = exact.reward = stock.prev_reward = exact.prev_reward = 321.0  # a text that is not kept


@pytest.mark.parametrize("continuous", [True, False])
def test_render_is_stocks(continuous: bool) -> None:
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
def test_every_byte_of_whole_episodes(seed: int) -> None:
    randomize = seed % 4 == 3
    stock, exact = CarRacing(domain_randomize=randomize), FastCarRacing("exact", domain_randomize=randomize)
    for env in (stock, exact):
        env.reset(seed=0)
    actions = held(seed, 1000) if seed % 3 == 0 else bench.driven(seed, 1000, sloppiness=(0.3, 1.0)[seed % 2])
    for x, y in side_by_side(stock, exact, seed, actions):
        np.testing.assert_array_equal(x, y)


# --- fast: the same game, about the same picture ------------------------------------------------------


@pytest.mark.parametrize("kwargs", [{}, {"lap_complete_percent": 0.5}, {"domain_randomize": True}])
def test_the_game_is_stocks(kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_discrete_actions_are_stocks(stock_without_pictures: CarRacing, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = CarRacing(continuous=False)
    for _ in side_by_side(stock, FastCarRacing("fast", continuous=False), 4, [3, 3, 3, 1, 1, 2, 4, 0] * 10):
        pass
    assert stock.reward > 0


def test_the_picture_is_about_stocks() -> None:
    errors, pairs = bench.pixel_errors(range(2), 90)
    assert pairs[0].shape == (64, 3 * 64, 3)
    assert errors.mean() < 0.7 and errors[60:].mean() < 0.6 and errors.max() < 2, "of 255"


def test_the_picture_off_the_road_and_in_other_colours() -> None:
    stock, fast = CarRacing(domain_randomize=True), FastCarRacing("fast", domain_randomize=True)
    for env in (stock, fast):
        env.reset(seed=1)
    frames = [(crop(x), y) for x, y in side_by_side(stock, fast, 6, held(6, 100))]
    assert np.mean([np.abs(x.astype(int) - y).mean() for x, y in frames]) < 0.7


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_the_same_seed_twice(drawing: str) -> None:
    env = FastCarRacing(drawing)

    def play(seed: int) -> list[bytes]:
        frames = [env.reset(seed=seed)[0]] + [env.step(action)[0] for action in held(seed, 60)]
        assert all(frame.shape == env.observation_space.shape for frame in frames)
        assert not any(np.shares_memory(frames[-1], frame) for frame in frames[:-1])
        return [frame.tobytes() for frame in frames]

    first = play(7)
    assert play(8) != first and play(7) == first
    env = FastCarRacing(drawing)
    assert play(7) == first


# --- the environment ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kwargs", [{"drawing": "exact"}, {"drawing": "fast"}, {"drawing": "fast", "continuous": False}]
)
def test_gymnasiums_checker_is_content(kwargs: dict[str, Any]) -> None:
    env = gym.make("wm_envs:FastCarRacing-v0", **kwargs)
    assert env.spec is not None and env.spec.max_episode_steps == 1000 and env.spec.reward_threshold == 900
    assert env.spec.to_json()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()
    env.close()


def test_spaces() -> None:
    stock, exact, fast = CarRacing(), gym.make("FastCarRacing-v0"), gym.make("FastCarRacing-v0", drawing="fast")
    assert exact.observation_space == stock.observation_space and fast.observation_space.shape == FRAME_SHAPE
    assert exact.action_space == fast.action_space == stock.action_space


def test_a_copy_has_the_same_painter() -> None:
    copy = pickle.loads(pickle.dumps(FastCarRacing("fast", lap_complete_percent=0.5)))
    assert copy.observation_space.shape == FRAME_SHAPE and copy.lap_complete_percent == 0.5
    assert copy.reset(seed=0)[0].shape == FRAME_SHAPE


BAD = {
    "NaN": [0.0, math.nan, 0.0],
    "infinite": [-math.inf, 0.0, 0.0],
    "steers too far": [1.001, 0.0, 0.0],
    "negative gas": [0.0, -0.1, 0.0],
    "too much brake": np.array([0.0, 0.0, 1.1], np.float32),
    "too short": [0.0, 0.0],
    "a batch": [[0.0, 0.0, 0.0]],
    "a number": 0.0,
    "a choice": 3,
    "a word": "left",
    "words": ["left", "gas", "brake"],
    "booleans": [True, False, False],
    "complex": [0j, 0j, 0j],
    "ragged": [[0.0], 0.0, 0.0],
    "an object": [None, None, None],
}


@pytest.mark.parametrize("action", BAD.values(), ids=BAD)
def test_bad_actions_change_nothing(action: Any) -> None:
    env, game = FastCarRacing("fast"), CarRacingGame("fast")
    env.reset(seed=0)
    game.reset(0)
    for refuse in (env.step, env.tick, lambda a: game.advance(a, 2)):
        with pytest.raises(InvalidAction, match=r"action: got .*expected one of Box.*To mend it: take one from"):
            refuse(action)
    good = np.array([0.1, 0.5, 0.0], np.float32)
    undisturbed = FastCarRacing("fast")
    undisturbed.reset(seed=0)
    expected = undisturbed.step(good)
    np.testing.assert_array_equal(env.step(good)[0], expected[0])
    np.testing.assert_array_equal(game.advance(good, 1).frame, expected[0])
    assert env.t == undisturbed.t and env.reward == undisturbed.reward


@pytest.mark.parametrize("action", [5, -1, 1.0, math.nan, None, "gas", [1], np.array([0.0, 0.0, 0.0])])
def test_bad_choices(action: Any) -> None:
    env = FastCarRacing("fast", continuous=False)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match="Discrete"):
        env.step(action)


def test_a_step_without_an_action_is_refused() -> None:
    env = FastCarRacing("fast")
    env.reset(seed=0)
    with pytest.raises(InvalidAction):
        env.step(None)


@pytest.mark.parametrize("drawing", ["", "stock", "Exact", None, 1, ["fast"]])
def test_unknown_drawings(drawing: Any) -> None:
    with pytest.raises(InvalidOption, match=r"drawing: got .*expected one of \['exact', 'fast'\]"):
        FastCarRacing(drawing)
    if drawing != "stock":
        with pytest.raises(InvalidOption, match="drawing"):
            CarRacingGame(drawing)


def test_a_step_before_the_first_reset() -> None:
    with pytest.raises(ResetNeeded, match=r"reset\(\)"):
        FastCarRacing("fast").step(np.zeros(3))
    with pytest.raises(ResetNeeded):
        CarRacingGame("stock").advance(np.zeros(3, np.float32), 1)


@pytest.mark.parametrize("package", ["Box2D", "pygame", "cv2"])
def test_a_missing_package_is_named_with_its_cure(package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
import gymnasium as gym, wm_envs
from wm_envs.tasks import CAR_RACING
from wm_envs.errors import MissingPackage
for use in (CAR_RACING.open, lambda: gym.make("FastCarRacing-v0")):
    try:
        use()
    except MissingPackage as error:
        print(error)
"""
    lines = fresh_process(code).splitlines()
    told = [line for line in lines if "pip install 'wm-envs[carracing]'" in line]
    assert len(told) == 2 and all(package in line for line in told)


def test_box2d_loads_where_warnings_are_errors() -> None:
    assert "fine" in fresh_process("import wm_envs.car_racing; print('fine')", PYTHONWARNINGS="error")


# --- the game behind the task -------------------------------------------------------------------------


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_ticks_nobody_looks_at_make_no_difference(drawing: str) -> None:
    leaping, walking = CarRacingGame(drawing), CarRacingGame(drawing)
    np.testing.assert_array_equal(leaping.reset(9), walking.reset(9))
    for action in held(9, 12):
        leap = leaping.advance(action, 4)
        walk = [walking.advance(action, 1) for _ in range(4)]
        assert leap.reward == pytest.approx(sum(tick.reward for tick in walk), abs=1e-9)
        assert leap.ticks == sum(tick.ticks for tick in walk) == 4 and not leap.terminated
        np.testing.assert_array_equal(leap.frame, walk[-1].frame)


def test_all_drawings_play_the_same_game() -> None:
    games = [CarRacingGame(drawing) for drawing in GAME_DRAWINGS]
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
        off.append(not on_road)
    assert 0 < sum(off) < 200


def test_the_task() -> None:
    assert TASKS["carracing"] is CAR_RACING and CAR_RACING.action_size == 3
    given = np.array([[-1, -1, -1], [0.25, 0, 0.5], [1, 1, 1]], np.float32)
    executed = CAR_RACING.executed(given)
    assert executed.dtype == np.float32
    np.testing.assert_array_equal(executed, np.array([[-1, 0, 0], [0.25, 0.5, 0.5], [1, 1, 1]], np.float32))
    np.testing.assert_array_equal(CAR_RACING.executed(given[1]), executed[1])
    choices = CAR_RACING.executed(np.array(CAR_RACING.discrete_actions, np.float32))
    stock = [[0, 0, 0], [0.6, 0, 0], [-0.6, 0, 0], [0, 0.2, 0], [0, 0, 0.8]]
    np.testing.assert_allclose(choices[:5], stock, atol=1e-7)
    assert [index for index, choice in enumerate(choices) if choice[1] == 0] == list(CAR_RACING.idle_actions)
    space, game = action_space(CAR_RACING, "continuous"), CAR_RACING.open()
    game.reset(0)
    for action in [*given, *(space.sample() for _ in range(20))]:
        assert game.advance(executed_actions(CAR_RACING, "continuous", action[None], 1)[0], 1).ticks == 1
    for choice in range(len(choices)):
        assert game.advance(executed_actions(CAR_RACING, "discrete", [choice], 1)[0], 1).ticks == 1
    assert game.reset(0).shape == FRAME_SHAPE
    assert isinstance(CAR_RACING.open("stock"), CarRacingGame)  # type: ignore[call-arg]


@pytest.mark.parametrize(("drawing", "settings", "named"), [
    ("oils", {}, "drawing"), (None, {"laps": 2}, "setting"), (None, {"lap_complete_percent": 1.5}, "lap_complete"),
    (None, {"lap_complete_percent": "all"}, "lap_complete_percent"), (None, {"lap_complete_percent": math.nan}, "lap"),
])  # fmt: skip
def test_ways_to_open_it_that_are_refused(drawing: Any, settings: Any, named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        how_to_open(CAR_RACING, drawing, settings)


@pytest.mark.parametrize("drawing", [None, "fast"])
def test_the_latent_game_takes_its_settings(tiny_drive: Any, drawing: str | None) -> None:
    kwargs = {"world": str(tiny_drive), "drawing": drawing, "lap_complete_percent": 1.0}
    env: Any = gym.make("WMTakeCover-v0", **kwargs)
    (game,) = env.unwrapped._lane._games.games
    assert game._env.lap_complete_percent == 1.0 and isinstance(game._env, FastCarRacing) == (drawing == "fast")
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
        "from wm_envs.car_racing_game import CarRacingGame\n"
        "game = CarRacingGame('fast')\n"
        "game.reset(3)\n"
        "def interrupted(*_):\n    raise KeyboardInterrupt\n"
        "car_racing.Car = interrupted\n"
        "try:\n    game.reset(4)\nexcept KeyboardInterrupt:\n    game.close()\n    print('closed')\n"
    )
    assert fresh_process(code) == "closed\n"
