"""What dreams and real games share: spaces, and the checks of everything a user hands in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wm_envs.errors import InvalidAction, InvalidOption
from wm_envs.games.base import FRAME_SHAPE, Task
from wm_envs.models.mdn_rnn import LATENT_LIMIT
from wm_envs.models.world_model import WorldModel

OBSERVATIONS = ("zh", "zch", "z", "pixels")
ACTIONS = ("continuous", "discrete", "fine")
RENDER_MODES = (None, "rgb_array", "human")


def one_of(field: str, value: object, choices: tuple[Any, ...]) -> Any:
    """`value` if it is one of `choices`; raises `InvalidOption`."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise InvalidOption(field, value, f"one of {list(choices)}", f"pass {field}={choices[0]!r}, say")
    return value


def game_kwargs(task: Task, renderer: str | None, settings: Mapping[str, object]) -> dict[str, Any]:
    """What `task.open` takes to draw in one of the task's ways (None: as scores are measured) and with its settings.

    Raises `InvalidOption` for a drawing or setting the task has not, or a number out of its range.
    """
    how: dict[str, Any] = {}
    if renderer is not None or task.renderers:
        how["renderer"] = (
            task.renderers[0] if renderer is None else one_of("renderer", renderer, task.renderers or (None,))
        )
    for name, value in settings.items():
        if name not in task.settings:
            there = f"one of {sorted(task.settings)}" if task.settings else f"no settings: {task.name} has none"
            raise InvalidOption("setting", name, there, "leave it away")
        low, high = task.settings[name]
        if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
            raise InvalidOption(name, value, f"a number from {low:g} to {high:g}", f"give {high:g}, say")
        how[name] = value
    return how


def check_temperature(value: object) -> float:
    """A finite temperature above 0 as a float; raises `InvalidOption`."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool | np.bool_)
    with np.errstate(all="ignore"):  # as M computes it: too large is infinite, too small is 0
        try:
            as_float32 = float(np.float32(value)) if number else 0.0  # type: ignore[arg-type]
        except OverflowError:
            as_float32 = math.inf
    if not math.isfinite(as_float32) or as_float32 <= 0:
        raise InvalidOption(
            "temperature", value, "a finite number above 0", "the paper uses 0.1 to 1.3; 1.0 is M's own"
        )
    return float(value)  # type: ignore[arg-type]


def observation_space(world: WorldModel, observation: str) -> spaces.Box:
    """The space of one lane."""
    one_of("observation", observation, OBSERVATIONS)
    if observation == "pixels":
        return spaces.Box(0, 255, FRAME_SHAPE, np.uint8)
    memory = world.config.memory
    # h is an output gate times a tanh; c grows by at most 1 a step.
    bounds = {
        "z": np.full(memory.latent, LATENT_LIMIT),
        "c": np.full(memory.hidden, 1.0 + world.task.tick_limit),
        "h": np.ones(memory.hidden),
    }
    high = np.concatenate([bounds[letter] for letter in observation]).astype(np.float32)
    return spaces.Box(-high, high, dtype=np.float32)


def action_space(task: Task, actions: str) -> spaces.Space[Any]:
    """The space of one lane: a Box as in the paper, or Discrete for DQN-like agents."""
    one_of("actions", actions, ACTIONS if task.fine_actions else ACTIONS[:2])
    if actions != "continuous":
        return spaces.Discrete(len(task.choices(actions)))
    return spaces.Box(np.array(task.action_low, np.float32), np.array(task.action_high, np.float32), dtype=np.float32)


def game_actions(task: Task, actions: str, given: Any, batch: int) -> NDArray[np.float32]:
    """What the game does, (B, A), for actions (B, ...) of the action space; raises `InvalidAction`."""
    discrete, choices = actions != "continuous", task.choices(actions)
    shape = (batch,) if discrete else (batch, task.action_size)
    expected = f"shape {shape}, " + (
        f"whole numbers from 0 to {len(choices) - 1}"
        if discrete
        else f"finite numbers from {task.action_low} to {task.action_high}"
    )
    fix = "take one from env.action_space.sample()"
    try:
        values = np.asarray(given)
    except ValueError as error:
        raise InvalidAction("action", given, expected, fix) from error
    if values.dtype.kind not in ("iu" if discrete else "iuf") or values.shape != shape:
        raise InvalidAction("action", given, expected, fix)
    if discrete:
        if ((values < 0) | (values >= len(choices))).any():
            raise InvalidAction("action", given, expected, fix)
        return task.game_action(np.array(choices, np.float32)[values])
    if not ((values >= np.array(task.action_low)) & (values <= np.array(task.action_high))).all():  # NaN is neither
        raise InvalidAction("action", given, expected, fix)
    return task.game_action(values.astype(np.float32))


def options_of_reset(options: object, known: tuple[str, ...]) -> dict[str, Any]:
    """`options` of a reset as a dict of known keys; raises `InvalidOption`."""
    if options is None:
        return {}
    if not isinstance(options, dict) or not set(options) <= set(known):
        raise InvalidOption("options", options, f"None or a dict with keys among {list(known)}", "remove the others")
    return dict(options)
