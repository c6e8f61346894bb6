"""The spaces of dreams and real games, and what their actions mean to the game."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wm_envs.envs.checks import one_of
from wm_envs.errors import InvalidAction
from wm_envs.games.base import FRAME_SHAPE, Task
from wm_envs.models.state import LATENT_LIMIT
from wm_envs.models.world_model import WorldModel

OBSERVATIONS = ("zh", "zch", "z", "pixels")
ROUNDING = 1e-6  # an action that exceeds its limits by less than this is clipped


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


def scaled(frames: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Frames (B, 64, 64, 3) scaled to (B, size, size, 3), each pixel that of the nearest one in the frame."""
    if size is None or size == frames.shape[1]:
        return frames
    nearest = np.arange(size) * frames.shape[1] // size
    return frames[:, nearest[:, None], nearest]
