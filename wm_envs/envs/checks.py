"""Checks of everything that a user passes to an environment, beside its actions (see spaces.py)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from wm_envs.envs.engine import Mask
from wm_envs.errors import InvalidOption, did_you_mean
from wm_envs.games.base import FRAME_SHAPE, Keywords, Options, Task
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world

RENDER_MODES = (None, "rgb_array", "human")
MAX_RENDER_SIZE = 4096  # pixels


def one_of(field: str, value: object, choices: tuple[Any, ...]) -> Any:
    """`value` if it is one of `choices`; raises `InvalidOption`."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise InvalidOption(field, value, f"one of {list(choices)}", f"pass {field}={choices[0]!r}, for example")
    return value


def refuse_unknown(given: Iterable[str], known: Iterable[str], owner: str) -> None:
    """Raise a `TypeError` in Python's words for the first name in `given` that is not in `known`, the keywords."""
    for name in given:
        if name not in known:
            nearest, others = did_you_mean(name, known), ", ".join(sorted(known))
            raise TypeError(f"{owner} got an unexpected keyword argument {name!r}{nearest}; it has {others}")


def check_count(field: str, value: object) -> int:
    """A whole number of at least 1; raises `InvalidOption`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOption(field, value, "a whole number of at least 1", f"pass {field}=64, for example")
    return value


def open_world(world: Any, device: Any, termination: str | None = None) -> WorldModel:
    """A world by name or path, on a device of this machine; raises `InvalidOption` or the errors of `load_world`."""
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InvalidOption("device", device, "a device of this machine", 'pass device="cpu"') from error
    if termination is not None:
        one_of("termination", termination, ("sampled", "threshold"))
    return load_world(world, place, {} if termination is None else {"termination": termination}, share=True)


def game_kwargs(task: Task, renderer: str | None, settings: Mapping[str, object]) -> Keywords:
    """The keywords of `Task.open` for a renderer (None: the one that scores are measured with) and settings.

    Raises `InvalidOption` for an unknown renderer or setting, or a number out of range.
    """
    kwargs: Keywords = {}
    if renderer is not None:
        if not task.renderers:
            raise InvalidOption("renderer", renderer, f"none, since {task.title} has a single one", "omit it")
        kwargs["renderer"] = one_of("renderer", renderer, task.renderers)
    elif task.score_renderer:
        kwargs["renderer"] = task.score_renderer
    for name, value in settings.items():
        if name not in task.settings:
            fix = f"omit {name}{did_you_mean(name, task.settings)}"
            raise InvalidOption(name, value, f"a setting of {task.title}: {sorted(task.settings) or 'none'}", fix)
        low, high = task.settings[name]
        if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
            raise InvalidOption(name, value, f"a number from {low:g} to {high:g}", f"pass {high:g}, for example")
        kwargs[name] = value
    return kwargs


def check_temperature(value: object) -> float:
    """A finite temperature above 0 as a float; raises `InvalidOption`."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool | np.bool_)
    with np.errstate(all="ignore"):  # in float32, as M computes: a large number is infinite, a small one is 0
        try:
            as_float32 = float(np.float32(value)) if number else 0.0  # type: ignore[arg-type]
        except OverflowError:
            as_float32 = math.inf
    if not math.isfinite(as_float32) or as_float32 <= 0:
        raise InvalidOption(
            "temperature", value, "a finite number above 0", "the paper uses 0.1 to 1.3; 1.0 is M's own"
        )
    return float(value)  # type: ignore[arg-type]


def check_components(components: object, mixtures: int) -> list[int] | None:
    """The components of M's `mixtures` that a dream draws from; None means all. Raises `InvalidOption`."""
    if components is None:
        return None
    numbers = list(components) if isinstance(components, list | tuple) else []
    if not numbers or not all(type(number) is int and 0 <= number < mixtures for number in numbers):
        expected = f"None or a list of whole numbers from 0 to {mixtures - 1}, at least one"
        raise InvalidOption("components", components, expected, "pass components=[0], or omit it")
    return sorted(set(numbers))


def check_render_size(size: object) -> int | None:
    """Width and height in pixels of a rendered picture, or None for the frame's 64; raises `InvalidOption`."""
    if size is not None and (type(size) is not int or not FRAME_SHAPE[0] <= size <= MAX_RENDER_SIZE):
        expected = f"None or a whole number from {FRAME_SHAPE[0]} to {MAX_RENDER_SIZE}"
        raise InvalidOption("render_size", size, expected, "pass render_size=512, for example")
    return size


def check_autoreset(value: object) -> AutoresetMode:
    """An autoreset mode from a member or its value; raises `InvalidOption`."""
    try:
        return AutoresetMode(value)
    except ValueError as error:
        modes = [mode.value for mode in AutoresetMode]
        raise InvalidOption("autoreset_mode", value, f"one of {modes}", "pass AutoresetMode.NEXT_STEP") from error


def reset_options(options: object, known: tuple[str, ...]) -> Options:
    """`options` of a reset as a dict with known keys only; raises `InvalidOption`."""
    if options is None:
        return {}
    if not isinstance(options, dict) or not set(options) <= set(known):
        raise InvalidOption("options", options, f"None or a dict with keys among {list(known)}", "remove the others")
    return dict(options)


def check_mask(mask: object, num_envs: int) -> Mask:
    """A copy of a reset mask; None means all environments. Raises `InvalidOption`."""
    if mask is None:
        return np.ones(num_envs, bool)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        expected = f"a bool array of shape ({num_envs},) with a True in it"
        raise InvalidOption("reset_mask", mask, expected, "mark the environments to reset")
    return mask.copy()


def check_state(world: WorldModel, state: Any, num_envs: int) -> State:
    """A copy of `state` if it is a State of `num_envs` dreams of this world; raises `InvalidOption`."""
    expected = world.check_state(state, num_envs)
    if expected:
        fix = "take it from env.unwrapped.state of an env of the same world"
        raise InvalidOption("state", state, expected, fix)
    tensors = world.state_to_tensors(state)
    moved = {
        name: (value.long() if name == "ticks" else value.float()).detach().clone().to(world.device)
        for name, value in tensors.items()
    }
    return world.state_from_tensors(moved)
