"""Everything a user can hand in wrongly: a typed error that names it, and nothing is changed by it."""

from __future__ import annotations

import functools
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import wm_envs  # noqa: F401 (registers the ids)
from tests.helpers import synthetic_store, tiny_model, with_memory
from training.stages import collect, evaluate, evolve, memory, vision
from wm_envs.envs.checks import check_state
from wm_envs.envs.dream import DreamEnv, DreamVectorEnv
from wm_envs.errors import (
    ControllerMismatch,
    InvalidAction,
    InvalidOption,
    OptionsDiffer,
    ResetNeeded,
    UnknownName,
    WorldModelError,
)  # fmt: skip
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.models.state import State

pytestmark = [
    pytest.mark.filterwarnings("error:overflow:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*initialised with render_mode"),  # Gymnasium warns before we refuse
]

NOT_TEMPERATURES = [0, 0.0, -1, math.nan, math.inf, -math.inf, "1.0", True, None, [1.0], 1j, np.float64("nan"), 10**400,
                    1e-60, np.array([1.0]), torch.tensor(1.0)]  # fmt: skip
shown = lambda value: repr(value)[:20]  # noqa: E731


# --- making -------------------------------------------------------------------------------------------

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


# --- a dream ------------------------------------------------------------------------------------------


def began(world: Path, **kwargs: Any) -> DreamEnv:
    env = DreamEnv(str(world), **kwargs)
    env.reset(seed=0)
    return env


def began_vector(world: Path, **kwargs: Any) -> DreamVectorEnv:
    env = DreamVectorEnv(3, world=str(world), **kwargs)
    env.reset(seed=0)
    return env


def discrete(world: Path) -> DreamEnv:
    return began(world, actions="discrete")


def masked(world: Path) -> DreamVectorEnv:
    return began_vector(world, autoreset_mode="Disabled")


def unbegun(world: Path) -> DreamEnv:
    return DreamEnv(str(world))


def unbegun_vector(world: Path) -> DreamVectorEnv:
    return DreamVectorEnv(3, world=str(world))


def ended(world: Path) -> DreamEnv:
    env = began(world)
    while not env.step(np.zeros(1, np.float32))[2]:
        pass
    return env


def ended_vector(world: Path) -> DreamVectorEnv:
    env = masked(world)
    while not env.step(np.zeros((3, 1), np.float32))[2].any():
        pass
    return env


def setter(value: Any) -> Callable[[Any], None]:
    return lambda env: setattr(env, "temperature", value)


def reset(**options: Any) -> Callable[[Any], Any]:
    return lambda env: env.reset(seed=9, options=options)


def given(options: Any) -> Callable[[Any], Any]:
    return lambda env: env.reset(seed=9, options=options)


def seeded(seed: Any) -> Callable[[Any], Any]:
    return lambda env: env.reset(seed=seed)


def step(action: Any) -> Callable[[Any], Any]:
    return lambda env: env.step(action)


def state(lanes: int = 1, latent: int = 4, hidden: int = 8, **changes: Any) -> State:
    z, h, c = (torch.zeros(lanes, size) for size in (latent, hidden, hidden))
    return State(z, (h, c), torch.zeros(lanes).long(), torch.zeros(lanes))._replace(**changes)


ONE = np.zeros(1, np.float32)
LANES = np.zeros((3, 1), np.float32)
MASK = np.array([True, False, False])
DREAMS: list[tuple[Callable[[Path], Any], Callable[[Any], Any], type[Exception], str]] = [
    *[(began, setter(value), InvalidOption, "temperature") for value in NOT_TEMPERATURES],
    *[(began, reset(temperature=value), InvalidOption, "temperature") for value in NOT_TEMPERATURES],
    *[(began_vector, reset(temperature=value), InvalidOption, "temperature") for value in (0, None, "1")],
    # actions
    *[(began, step(value), InvalidAction, "action") for value in (
        0.5, np.float32(0), np.zeros(0), np.zeros(2), np.zeros((1, 1)), [0.0, 0.0], [math.nan], [math.inf],
        [-math.inf], [1.01], [-1.01], [1e300], [10**400], "left", ["left"], b"x", None, [None], object(), [True], [1j],
        {}, {"a": 1}, [[0.0], [0.0]], [[1.0], 2.0],
    )],
    *[(discrete, step(value), InvalidAction, "action") for value in (
        -1, 3, 10**30, 0.0, 1.5, math.nan, "1", None, [0], np.zeros(1, int), True, np.float32(1), object(),
    )],
    *[(began_vector, step(value), InvalidAction, "action") for value in (
        0.0, ONE, np.zeros((2, 1)), np.zeros(3), np.zeros((3, 2)), np.full((3, 1), np.nan), np.full((3, 1), 2.0), None,
        "x",
    )],
    # episodes
    (unbegun, step(ONE), ResetNeeded, "reset"),
    (unbegun_vector, step(LANES), ResetNeeded, "reset"),
    (unbegun_vector, reset(reset_mask=MASK), ResetNeeded, "all of them first"),
    (ended, step(ONE), ResetNeeded, "reset"),
    (ended_vector, step(LANES), ResetNeeded, "are over"),
    # resets
    (began, reset(temperatur=1.0), InvalidOption, "'temperature', 'state'"),
    (began, reset(reset_mask=np.array([True])), InvalidOption, "options"),
    *[(began, given(value), InvalidOption, "options") for value in ([], "temperature", 3, ("temperature", 1.0), True)],
    *[(began, reset(state=value), InvalidOption, "state") for value in (
        None, 3, "state", (), [], state(2), state(latent=5), state(hidden=9), state()[:3],
        tuple(v.numpy() for v in state().tensors()), list(state()), state(recurrent=None), state(recurrent=(3, 4)),
        state(latents=torch.full((1, 4), math.nan)), state(recurrent=(torch.zeros(1, 8), torch.full((1, 8), math.inf))),
        state(ticks=torch.zeros(1, 1).long()), state(ticks=torch.tensor([-4])), state(latents=torch.full((1, 4), 1e6)),
    )],
    (began_vector, reset(state=state(1)), InvalidOption, "state"),
    *[(masked, reset(reset_mask=value), InvalidOption, "reset_mask") for value in (
        [True, False, False], MASK.astype(int), MASK[:2], np.zeros(3, bool), MASK[None], "all", 1,
        torch.from_numpy(MASK),
    )],
    *[(began_vector, seeded(value), InvalidOption, "seed") for value in (
        [0, -1, 2], [0, None, 2], [0, 1.0, 2], (1,), [0], [None], [],
    )],
    *[(began, seeded(value), Exception, "(?i)seed") for value in (-1, 1.5, "x")],  # Gymnasium's own errors
]  # fmt: skip


def everything(env: Any) -> list[Any]:
    """All that a later step depends on."""
    vector = getattr(env, "_vector", env)
    kept = [[value.tolist() for value in vector.state.tensors()], vector.temperature, vector._done.tolist()]
    if not vector._has_reset:
        return kept
    return [*kept, vector._engine.generator.get_state().tolist(), str(vector.np_random.bit_generator.state)]


IDS = [f"{make.__name__}-{said.split()[-1]}-{row}" for row, (make, _, _, said) in enumerate(DREAMS)]


@pytest.mark.parametrize(("make", "call", "error", "said"), DREAMS, ids=IDS)
def test_dreaming(tiny_world: Path, make: Any, call: Callable[[Any], Any], error: Any, said: str) -> None:
    env = make(tiny_world)
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


# --- training -----------------------------------------------------------------------------------------

NOT_COUNTS = (0, -1, True, 1.5, "3", None)
NOT_POSITIVE = (0.0, -1.0, math.nan, math.inf, "1", None)


SMALL = {
    collect: {"frames": 1, "workers": 1},
    vision: {"batches": 1, "batch_size": 2, "latent": 2},
    memory: {"steps": 1},
    evolve: {"generations": 1, "validate_episodes": 0},
}
STAGES = [
    *[(collect, name, value) for name in ("frames", "part_frames") for value in NOT_COUNTS],
    *[(collect, name, value) for name in ("round", "workers", "seed") for value in (-1, 1.5)],
    *[(vision, "latent", value) for value in NOT_COUNTS],
    *[(vision, name, value) for name in ("batches", "batch_size", "checkpoint_every") for value in NOT_COUNTS],
    *[(vision, "learning_rate", value) for value in NOT_POSITIVE],
    *[(vision, "motion", value) for value in (-1.0, math.nan, math.inf)],
    *[(memory, name, value) for name in ("hidden", "frame_skip") for value in NOT_COUNTS],
    *[(memory, name, value) for name in ("mixtures", "steps") for value in NOT_COUNTS],
    *[(memory, name, value) for name in ("batch_size", "sequence_length", "checkpoint_every") for value in NOT_COUNTS],
    *[(memory, "learning_rate", value) for value in NOT_POSITIVE],
    *[(evolve, name, value) for name in ("generations", "population", "rollouts") for value in NOT_COUNTS],
    *[(evolve, "validate_every", value) for value in NOT_COUNTS],
    *[(evolve, name, value) for name in ("temperature", "sigma") for value in NOT_POSITIVE],
    *[(evolve, name, value) for name in ("decay", "temperature_high") for value in (-1.0, math.nan)],
    *[(module, "seed", -1) for module in (vision, memory, evolve)],
    (evolve, "population", 1), (evolve, "validate_episodes", -1), (evolve, "workers", -1), (evolve, "train_in", "moon"),
    (evolve, "observation", "pixels"),
    *[(evolve, "name", value) for value in ("", "../x", "/tmp/x", ".x", "a b", "x\0", 3)],
]  # fmt: skip


@pytest.mark.parametrize(("module", "name", "value"), STAGES,
                         ids=[f"{module.__name__[9:]} {name} {value!r}" for module, name, value in STAGES])  # fmt: skip
def test_stages(own_world: Path, module: Any, name: str, value: Any) -> None:
    """`own_world` is the run's world; a run that is refused leaves no trace."""
    run = own_world.parent.parent
    before = sorted(run.rglob("*"))
    with pytest.raises(InvalidOption, match=name):
        module.main(module.Command.flat(**{"run": run, **SMALL[module], name: value}))
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize(("name", "value"), [
    *[("episodes", value) for value in NOT_COUNTS], ("first_seed", -1), ("workers", -1), ("workers", 1.5),
], ids=shown)  # fmt: skip
def test_evaluate(tiny_world: Path, name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=name):
        evaluate.main(evaluate.Command.flat(**{"world": str(tiny_world), "episodes": 1, name: value}))


def test_names_that_are_not_there(tiny_world: Path, own_world: Path) -> None:
    run = own_world.parent.parent
    with pytest.raises(UnknownName, match="controller"):
        evaluate.main(evaluate.Command.flat(world=str(tiny_world), controller="nobody"))
    with pytest.raises(UnknownName, match="takecover"):
        collect.main(collect.Command.flat(run=run, task="chess"))
    with pytest.raises(UnknownName, match="controller"):
        collect.main(collect.Command.flat(run=run, controllers=("nobody",)))
    with pytest.raises(WorldModelError, match="nowhere"):
        collect.main(collect.Command.flat(run=run, controllers=("controller", "nowhere:controller")))
    for players, task in ((("",), "takecover"), (("controller",), "carracing")):
        with pytest.raises(InvalidOption, match="controllers"):
            collect.main(collect.Command.flat(run=run, task=task, controllers=players))
    with pytest.raises(UnknownName, match="controller"):
        evolve.main(evolve.Command.flat(run=run, start="nobody", generations=1))


def test_other_options_for_a_run(own_world: Path, tiny_vision: None) -> None:
    run = synthetic_store(own_world.parent.parent)
    small = {"generations": 1, "population": 4, "rollouts": 1, "validate_episodes": 0}
    evolve.main(evolve.Command.flat(run=run, **small))
    with pytest.raises(OptionsDiffer, match=r"sigma 0\.1 -> 0\.3"):
        evolve.main(evolve.Command.flat(run=run, sigma=0.3, **small))
    vision.main(vision.Command.flat(run=run, latent=4, batches=1, batch_size=2))
    with pytest.raises(OptionsDiffer, match="latent 4 -> 8"):
        vision.main(vision.Command.flat(run=run, latent=8, batches=1, batch_size=2))


def test_a_controller_of_another_size() -> None:
    config = ControllerConfig(4, 8, 1, "zh")
    for parameters, features in ((12, 12), (13, 4), (20, 12)):
        with pytest.raises(ControllerMismatch, match="13 parameters for 12 features"):
            act(config, torch.zeros(parameters), torch.zeros(1, features))
