"""Everything a user can hand in wrongly: a typed error that names it, and nothing is changed by it."""

import functools
import math
import pickle
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from tests.helpers import tiny_model, with_memory
from wm_envs.envs.checks import check_state
from wm_envs.envs.dream import DreamEnv, DreamVectorEnv
from wm_envs.errors import InvalidAction, InvalidOption, ResetNeeded, UnknownName, WorldModelError
from wm_envs.models.state import State

pytestmark = [
    pytest.mark.filterwarnings("error:overflow:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*initialised with render_mode"),  # Gymnasium warns before we refuse
]

NOT_TEMPERATURES = [0, 0.0, -1, math.nan, math.inf, -math.inf, "1.0", True, None, [1.0], 1j, np.float64("nan"), 10**400,
                    1e-60, np.array([1.0]), torch.tensor(1.0)]  # fmt: skip
shown = lambda value: repr(value)[:20]  # noqa: E731
MAKING = [
    *[("temperature", value) for value in NOT_TEMPERATURES if value is not None],  # None: the world's own
    *[("observation", value) for value in ("hz", "", None, 3, "ZH")],
    *[("actions", value) for value in ("box", "fine", "own", 1)],
    *[("render_mode", value) for value in ("ansi", "")],
    *[("device", value) for value in ("tpu9", "cuda:99", 1.5, "", None, [])],
    *[("termination", value) for value in ("never", 1, True)],
]
VECTOR_MAKING = [
    *[("num_envs", value) for value in (0, -1, True, 1.5, "3", None)],
    *[("max_episode_steps", value) for value in (0, -1, True, 1.5, "3")],
    *[("autoreset_mode", value) for value in ("never", 3, None)],
    ("render_mode", "human"),
]


@pytest.mark.parametrize(("option", "value"), MAKING, ids=shown)
def test_making(tiny_world: Path, option: str, value: Any) -> None:
    one, many = functools.partial(gym.make, "WMDream-v0"), functools.partial(gym.make_vec, "WMDream-v0", num_envs=2)
    for make in (one, many, DreamEnv):
        with pytest.raises(InvalidOption, match=option) as raised:
            make(**{"world": str(tiny_world), option: value})
        assert raised.value.field == option and "Fix" in str(raised.value)


@pytest.mark.parametrize(("option", "value"), VECTOR_MAKING, ids=shown)
def test_making_vectors(tiny_world: Path, option: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=option):
        DreamVectorEnv(**{"num_envs": 2, "world": str(tiny_world), option: value})


def test_making_of_an_unknown_world() -> None:
    for name in ("WMDream-v0", "WMTakeCover-v0"):
        with pytest.raises(UnknownName, match="python -m training run"):
            gym.make(name, world="no-such-world")


def began(world: Path, **kwargs: Any) -> DreamEnv:
    env = DreamEnv(str(world), **kwargs)
    env.reset(seed=0)
    return env


def began_vector(world: Path, **kwargs: Any) -> DreamVectorEnv:
    env = DreamVectorEnv(3, world=str(world), **kwargs)
    env.reset(seed=0)
    return env


def ended(world: Path) -> DreamEnv:
    env = began(world)
    while not env.step(np.zeros(1, np.float32))[2]:
        pass
    return env


def ended_vector(world: Path) -> DreamVectorEnv:
    env = began_vector(world, autoreset_mode="Disabled")
    while not env.step(np.zeros((3, 1), np.float32))[2].any():
        pass
    return env


ENVS: dict[str, Callable[[Path], Any]] = {
    "began": began,
    "discrete": functools.partial(began, actions="discrete"),
    "began_vector": began_vector,
    "masked": functools.partial(began_vector, autoreset_mode="Disabled"),
    "unbegun": lambda world: DreamEnv(str(world)),
    "unbegun_vector": lambda world: DreamVectorEnv(3, world=str(world)),
    "ended": ended,
    "ended_vector": ended_vector,
}


def setter(value: Any) -> Callable[[Any], None]:
    return lambda env: setattr(env, "temperature", value)


def reset(**options: Any) -> Callable[[Any], Any]:
    return methodcaller("reset", seed=9, options=options)


def state(lanes: int = 1, latent: int = 4, hidden: int = 8, **changes: Any) -> State:
    z, h, c = (torch.zeros(lanes, size) for size in (latent, hidden, hidden))
    return State(z, (h, c), torch.zeros(lanes).long(), torch.zeros(lanes))._replace(**changes)


ONE = np.zeros(1, np.float32)
LANES = np.zeros((3, 1), np.float32)
MASK = np.array([True, False, False])
DREAMS: list[tuple[str, Callable[[Any], Any], type[Exception], str]] = [
    *[("began", setter(value), InvalidOption, "temperature") for value in NOT_TEMPERATURES],
    *[("began", reset(temperature=value), InvalidOption, "temperature") for value in NOT_TEMPERATURES],
    *[("began_vector", reset(temperature=value), InvalidOption, "temperature") for value in (0, None, "1")],
    # actions
    *[("began", methodcaller("step", value), InvalidAction, "action") for value in (
        0.5, np.float32(0), np.zeros(0), np.zeros(2), np.zeros((1, 1)), [0.0, 0.0], [math.nan], [math.inf],
        [-math.inf], [1.01], [-1.01], [1e300], [10**400], "left", ["left"], b"x", None, [None], object(), [True], [1j],
        {}, {"a": 1}, [[0.0], [0.0]], [[1.0], 2.0],
    )],
    *[("discrete", methodcaller("step", value), InvalidAction, "action") for value in (
        -1, 3, 10**30, 0.0, 1.5, math.nan, "1", None, [0], np.zeros(1, int), True, np.float32(1), object(),
    )],
    *[("began_vector", methodcaller("step", value), InvalidAction, "action") for value in (
        0.0, ONE, np.zeros((2, 1)), np.zeros(3), np.zeros((3, 2)), np.full((3, 1), np.nan), np.full((3, 1), 2.0), None,
        "x",
    )],
    # episodes
    ("unbegun", methodcaller("step", ONE), ResetNeeded, "reset"),
    ("unbegun_vector", methodcaller("step", LANES), ResetNeeded, "reset"),
    ("unbegun_vector", reset(reset_mask=MASK), ResetNeeded, "all of them first"),
    ("ended", methodcaller("step", ONE), ResetNeeded, "reset"),
    ("ended_vector", methodcaller("step", LANES), ResetNeeded, "are over"),
    # resets
    ("began", reset(temperatur=1.0), InvalidOption, "'temperature', 'state'"),
    ("began", reset(reset_mask=np.array([True])), InvalidOption, "options"),
    *[("began", methodcaller("reset", options=value), InvalidOption, "options") for value in (
        [], "temperature", 3, ("temperature", 1.0), True,
    )],
    *[("began", reset(state=value), InvalidOption, "state") for value in (
        None, 3, "state", (), [], state(2), state(latent=5), state(hidden=9), state()[:3],
        tuple(v.numpy() for v in state().tensors()), list(state()), state(recurrent=None), state(recurrent=(3, 4)),
        state(latents=torch.full((1, 4), math.nan)), state(recurrent=(torch.zeros(1, 8), torch.full((1, 8), math.inf))),
        state(ticks=torch.zeros(1, 1).long()), state(ticks=torch.tensor([-4])), state(latents=torch.full((1, 4), 1e6)),
    )],
    ("began_vector", reset(state=state(1)), InvalidOption, "state"),
    *[("masked", reset(reset_mask=value), InvalidOption, "reset_mask") for value in (
        [True, False, False], MASK.astype(int), MASK[:2], np.zeros(3, bool), MASK[None], "all", 1,
        torch.from_numpy(MASK),
    )],
    *[("began_vector", methodcaller("reset", seed=value), InvalidOption, "seed") for value in (
        [0, -1, 2], [0, None, 2], [0, 1.0, 2], (1,), [0], [None], [],
    )],
    # Gymnasium's own errors
    *[("began", methodcaller("reset", seed=value), Exception, "(?i)seed") for value in (-1, 1.5, "x")],
]  # fmt: skip


def everything(env: Any) -> list[Any]:
    """All that a later step depends on."""
    vector = getattr(env, "_vector", env)
    kept = [[value.tolist() for value in vector.state.tensors()], vector.temperature, vector._done.tolist()]
    if not vector._has_reset:
        return kept
    return [*kept, vector._engine.generator.get_state().tolist(), str(vector.np_random.bit_generator.state)]


IDS = [f"{name}-{said.split()[-1]}-{row}" for row, (name, _, _, said) in enumerate(DREAMS)]


@pytest.mark.parametrize(("name", "call", "error", "said"), DREAMS, ids=IDS)
def test_dreaming(tiny_world: Path, name: str, call: Callable[[Any], Any], error: Any, said: str) -> None:
    env = ENVS[name](tiny_world)
    before = everything(env)
    with pytest.raises(error, match=said):
        call(env)
    assert everything(env) == before


def test_a_state_of_another_world() -> None:
    world = tiny_model(config=with_memory(hidden=16))
    with pytest.raises(InvalidOption, match="same world"):
        check_state(world, state(), 1)


def test_errors_are_those_of_python_too() -> None:
    """Code that knows nothing of this package can catch them."""
    builtins = {InvalidOption: ValueError, InvalidAction: ValueError, UnknownName: KeyError, ResetNeeded: RuntimeError}
    for error, builtin in builtins.items():
        made = error("field", "given", "something else", "do otherwise")
        assert isinstance(made, builtin) and isinstance(made, WorldModelError)
        assert str(made) == "field: got given, expected something else. Fix: do otherwise."
        sent = pickle.loads(pickle.dumps(made))  # as worker processes send it
        assert type(sent) is type(made) and vars(sent) == vars(made) and str(sent) == str(made)
    assert len(str(InvalidOption("options", list(range(10**6)), "less", "take less"))) < 300
