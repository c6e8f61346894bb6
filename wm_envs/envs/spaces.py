"""Spaces, and the checks of everything that a user passes, for dreams and real games."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wm_envs.errors import InvalidAction, InvalidOption, UnknownKeyword
from wm_envs.games.base import FRAME_SHAPE, Task
from wm_envs.models.memory.mdn_rnn import LATENT_LIMIT
from wm_envs.models.world_model import WorldModel

OBSERVATIONS = ("zh", "zch", "z", "pixels")
RENDER_MODES = (None, "rgb_array", "human")
ROUNDING = 1e-6  # an action that exceeds its limits by less than this is clipped
MAX_RENDER_SIZE = 4096  # pixels


def one_of(field: str, value: object, choices: tuple[Any, ...]) -> Any:
    """`value` if it is one of `choices`; raises `InvalidOption`."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise InvalidOption(field, value, f"one of {list(choices)}", f"pass {field}={choices[0]!r}, for example")
    return value


def refuse_unknown(given: Mapping[str, object], known: Iterable[str], what: str) -> None:
    """Raise `UnknownKeyword` for the first name of `given` that is not in `known`; `what` describes the known ones."""
    for name, value in given.items():
        if name not in known:
            raise UnknownKeyword(name, value, f"{what}: {', '.join(sorted(known)) or 'none'}", f"omit {name}")


def keywords(call: Callable[..., Any]) -> list[str]:
    """Names of the keywords of `call`, without self and **kwargs."""
    parameters = inspect.signature(call).parameters.values()
    return [p.name for p in parameters if p.name != "self" and p.kind != inspect.Parameter.VAR_KEYWORD]


def game_kwargs(task: Task, renderer: str | None, settings: Mapping[str, object]) -> dict[str, Any]:
    """The keywords of `Task.open` for a renderer (None: the one that scores are measured with) and settings.

    Raises `InvalidOption` for an unknown renderer or a number out of range, `UnknownKeyword` for an unknown setting.
    """
    refuse_unknown(settings, task.settings, f"a setting of {task.name}")
    kwargs: dict[str, Any] = {}
    if renderer is not None:
        kwargs["renderer"] = one_of("renderer", renderer, task.renderers or (None,))
    elif task.score_renderer:
        kwargs["renderer"] = task.score_renderer
    for name, value in settings.items():
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
    given = list(components) if isinstance(components, list | tuple) else []
    if not given or not all(type(each) is int and 0 <= each < mixtures for each in given):
        expected = f"None or a list of whole numbers from 0 to {mixtures - 1}, at least one"
        raise InvalidOption("components", components, expected, "pass components=[0], or omit it")
    return sorted(set(given))


def observation_space(world: WorldModel, observation: str) -> spaces.Box:
    """The space of one environment."""
    one_of("observation", observation, OBSERVATIONS)
    if observation == "pixels":
        return spaces.Box(0, 255, FRAME_SHAPE, np.uint8)
    memory = world.config.memory
    # h is an output gate times a tanh; c grows by at most 1 a step.
    bounds = {
        "z": np.full(world.observed_latents, LATENT_LIMIT),
        "c": np.full(memory.hidden, 1.0 + world.task.timing.tick_limit),
        "h": np.ones(memory.hidden),
    }
    high = np.concatenate([bounds[letter] for letter in observation]).astype(np.float32)
    return spaces.Box(-high, high, dtype=np.float32)


def action_kind(task: Task, actions: object) -> str:
    """The keyword `actions`, or the default of the game for None; raises `InvalidOption`."""
    return str(task.actions.kinds[0] if actions is None else one_of("actions", actions, task.actions.kinds))


def action_space(task: Task, actions: str) -> spaces.Space[Any]:
    """The space of one environment: a Box as in the paper, Discrete for DQN-like agents, or the game's own."""
    if actions == "own":
        assert task.actions.own is not None
        return task.actions.own.space
    if actions != "continuous":
        return spaces.Discrete(len(task.actions.choices(actions)))
    return spaces.Box(np.array(task.actions.low, np.float32), np.array(task.actions.high, np.float32), dtype=np.float32)


def game_actions(task: Task, actions: str, given: Any, batch: int | None) -> NDArray[np.float32]:
    """The game's own actions (B, A) for actions (B, ...) of the action space; (A,) for one action if `batch` is None.

    A continuous action that exceeds its limits by a rounding error is clipped. Raises `InvalidAction`.
    """
    if actions == "own":
        return _own_actions(task, given, batch)
    choices = () if actions == "continuous" else task.actions.choices(actions)
    shape = (() if batch is None else (batch,)) + (() if choices else (task.actions.size,))
    try:
        values = np.asarray(given)
    except ValueError as error:
        raise _refused_action(task, choices, given, shape) from error
    if values.dtype.kind not in ("iu" if choices else "iuf") or values.shape != shape:
        raise _refused_action(task, choices, given, shape)
    if choices:
        if ((values < 0) | (values >= len(choices))).any():
            raise _refused_action(task, choices, given, shape)
        return task.actions.to_game(np.array(choices, np.float32)[values])
    low, high = np.array(task.actions.low), np.array(task.actions.high)
    if not ((values >= low - ROUNDING) & (values <= high + ROUNDING)).all():  # False for NaN
        raise _refused_action(task, choices, given, shape)
    return task.actions.to_game(values.clip(low, high).astype(np.float32))


def _own_actions(task: Task, given: Any, batch: int | None) -> NDArray[np.float32]:
    """`game_actions` for actions of the game's own space."""
    own = task.actions.own
    assert own is not None
    shape = (() if batch is None else (batch,)) + own.shape
    low, high = own.limits
    try:
        values = np.asarray(given)
    except ValueError:
        values = np.array(None)
    fits = values.dtype.kind in ("iuf" if low.dtype.kind == "f" else "iu") and values.shape == shape
    if not fits or not ((values >= low - ROUNDING) & (values <= high + ROUNDING)).all():
        expected = f"an action of {own.space}" if batch is None else f"{batch} actions of {own.space}"
        raise InvalidAction("action", given, expected, "take one from env.action_space.sample()")
    return own.encode(values.clip(low, high))


def _refused_action(task: Task, choices: tuple[Any, ...], given: Any, shape: tuple[int, ...]) -> InvalidAction:
    fix = "take one from env.action_space.sample()"
    if choices:
        numbers = f"from 0 to {len(choices) - 1}"
        many = f"an array of shape {shape} with whole numbers {numbers}"
        return InvalidAction("action", given, many if shape else f"one whole number {numbers}, not an array", fix)
    limits = f"finite numbers from {task.actions.low} to {task.actions.high}"
    return InvalidAction(
        "action", given, f"an array of shape {shape} with {limits}",
        f"{fix}, or clip it with gymnasium.wrappers.ClipAction",
    )  # fmt: skip


def checked_render_size(size: object) -> int | None:
    """Width and height in pixels of a rendered picture, or None for the frame's 64; raises `InvalidOption`."""
    if size is not None and (type(size) is not int or not FRAME_SHAPE[0] <= size <= MAX_RENDER_SIZE):
        expected = f"None or a whole number from {FRAME_SHAPE[0]} to {MAX_RENDER_SIZE}"
        raise InvalidOption("render_size", size, expected, "pass render_size=512, for example")
    return size


def scaled(frames: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Frames (B, 64, 64, 3) scaled to (B, size, size, 3), each pixel that of the nearest one in the frame."""
    if size is None or size == frames.shape[1]:
        return frames
    nearest = np.arange(size) * frames.shape[1] // size
    return frames[:, nearest[:, None], nearest]


def options_of_reset(options: object, known: tuple[str, ...]) -> dict[str, Any]:
    """`options` of a reset as a dict with known keys only; raises `InvalidOption`."""
    if options is None:
        return {}
    if not isinstance(options, dict) or not set(options) <= set(known):
        raise InvalidOption("options", options, f"None or a dict with keys among {list(known)}", "remove the others")
    return dict(options)
