"""CarRacing as an environment: its spaces, its copies, bad actions and missing packages."""

import math
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.helpers import fresh_process
from wm_envs.errors import InvalidAction, InvalidOption, ResetNeeded
from wm_envs.games.base import FRAME_SHAPE
from wm_envs.games.car_racing.dependencies import CarRacing  # first: it loads Box2D without its warnings
from wm_envs.games.car_racing.fast_car_racing import FastCarRacing
from wm_envs.games.car_racing.game import CarRacingGame


@pytest.mark.parametrize(
    "kwargs", [{"renderer": "exact"}, {"renderer": "fast"}, {"renderer": "fast", "continuous": False}]
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
    stock, exact, fast = CarRacing(), gym.make("FastCarRacing-v0"), gym.make("FastCarRacing-v0", renderer="fast")
    assert exact.observation_space == stock.observation_space and fast.observation_space.shape == FRAME_SHAPE
    assert exact.action_space == fast.action_space == stock.action_space


def test_a_copy_has_the_same_renderer() -> None:
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
    "nothing": None,
}


OUTSIDE = ("steers too far", "negative gas", "too much brake")  # CarRacing-v3 takes them


@pytest.mark.parametrize("name", BAD)
def test_bad_actions_change_nothing(name: str) -> None:
    env, game, action = FastCarRacing("fast"), CarRacingGame("fast"), BAD[name]
    env.reset(seed=0)
    game.reset(0)
    for refuse in (lambda a: game.advance(a, 2), *(() if name in OUTSIDE else (env.step, env.tick))):
        with pytest.raises(InvalidAction, match=r"action: got .*expected one of Box.*Fix: take one from"):
            refuse(action)
    good = np.array([0.1, 0.5, 0.0], np.float32)
    undisturbed = FastCarRacing("fast")
    undisturbed.reset(seed=0)
    expected = undisturbed.step(good)
    np.testing.assert_array_equal(env.step(good)[0], expected[0])
    np.testing.assert_array_equal(game.advance(good, 1).frame, expected[0])
    assert env.t == undisturbed.t and env.reward == undisturbed.reward


def test_numbers_outside_of_the_action_space_are_taken_as_in_car_racing_v3() -> None:
    env, reference = FastCarRacing("exact"), CarRacing()
    env.reset(seed=0), reference.reset(seed=0)
    for action in ([1.001, 0.0, 0.0], [5.0, 3.0, -1.0], [-7.0, -0.1, 1.1], [0.0, 1e30, 0.0]):
        ours, theirs = (each.step(np.array(action, np.float32)) for each in (env, reference))
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]


@pytest.mark.parametrize("action", [5, -1, 1.0, math.nan, None, "gas", [1], np.array([0.0, 0.0, 0.0])])
def test_bad_choices(action: Any) -> None:
    env = FastCarRacing("fast", continuous=False)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match="Discrete"):
        env.step(action)


@pytest.mark.parametrize("renderer", ["", "stock", "Exact", None, 1, ["fast"]])
def test_unknown_drawings(renderer: Any) -> None:
    with pytest.raises(InvalidOption, match=r"renderer: got .*expected one of \['exact', 'fast'\]"):
        FastCarRacing(renderer)
    if renderer != "stock":
        with pytest.raises(InvalidOption, match="renderer"):
            CarRacingGame(renderer)


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
from wm_envs.games.car_racing.task import CAR_RACING
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
    code = "import wm_envs.games.car_racing.fast_car_racing; print('fine')"
    assert "fine" in fresh_process(code, PYTHONWARNINGS="error")
