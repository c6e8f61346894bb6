"""The spaces of dreams and real games, and what their actions mean to the game."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from wm_envs.envs.checks import one_of
from wm_envs.errors import InvalidAction
from wm_envs.games.base import FRAME_SHAPE, Task, within
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


def game_actions(task: Task, kind: str, actions: Any, batch: int | None) -> NDArray[np.float32]:
    """The game's actions (B, A) for actions (B, ...) of the action space; (A,) for one action if `batch` is None.

    A continuous action that exceeds its limits by a rounding error is clipped. Raises `InvalidAction`.
    """
    own = task.actions.own if kind == "own" else None
    choices = np.array([] if kind in ("own", "continuous") else task.actions.choices(kind), np.float32)
    low, high = (np.array(limit) for limit in (task.actions.low, task.actions.high))
    if own:
        low, high = own.limits
    elif len(choices):
        low, high = np.array(0), np.array(len(choices) - 1)
    shape = low.shape if batch is None else (batch, *low.shape)
    values = within(actions, np.broadcast_to(low, shape), high, ROUNDING)
    if values is None:
        raise _refused_action(task, kind, actions, shape)
    values = values.clip(low, high)
    if own:
        return own.encode(values)
    return task.actions.to_game(choices[values] if len(choices) else values.astype(np.float32))


def _refused_action(task: Task, kind: str, actions: Any, shape: tuple[int, ...]) -> InvalidAction:
    fix = "take one from env.action_space.sample()"
    space = action_space(task, kind)
    if kind == "continuous":
        expected = f"an array of shape {shape} with finite numbers from {task.actions.low} to {task.actions.high}"
        return InvalidAction("action", actions, expected, f"{fix}, or clip it with gymnasium.wrappers.ClipAction")
    if shape:
        return InvalidAction("action", actions, f"an array of shape {shape} with actions of {space}", fix)
    return InvalidAction("action", actions, f"one action of {space}, a whole number and not an array", fix)


def scaled(frames: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Frames (B, 64, 64, 3) scaled to (B, size, size, 3), each pixel that of the nearest one in the frame."""
    if size is None or size == frames.shape[1]:
        return frames
    nearest = np.arange(size) * frames.shape[1] // size
    return frames[:, nearest[:, None], nearest]
