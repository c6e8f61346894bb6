"""What chooses the actions: the keys, a controller of the world, or random play."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from wm_envs.games.base import Task
from wm_envs.models.controller import ControllerConfig
from wm_envs.worlds.bundle import read_config, read_controller, resolve

DRIVERS = ("you", "controller", "random")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, 1), "down": (0, -1)}  # right, up
DIGITS = tuple("0123456789")  # in games with actions of their own: the choices by number, for those that no arrow takes

Controller = tuple[ControllerConfig, torch.Tensor]


def load_controllers(world: str) -> dict[str, Controller]:
    """Every controller of a world, by name; the first one is the world's best. Raises `BrokenWorld`."""
    return {name: read_controller(world, name) for name in read_config(resolve(world))["controllers"]}


class Keys:
    """The directions and digits that are held down, and those pressed since the last step, also if released again."""

    def __init__(self) -> None:
        self.held: list[str] = []  # of two opposite ones, the last counts
        self.tapped: list[str] = []

    def press(self, key: str) -> None:
        """A direction or digit was pressed."""
        self.tapped.append(key)
        self.held.append(key)

    def release(self, key: str) -> None:
        """A direction or digit was released."""
        if key in self.held:
            self.held.remove(key)

    def forget(self) -> None:
        """Release everything."""
        self.held, self.tapped = [], []

    def action(self, task: Task) -> NDArray[np.float32]:
        """The agent's action for the next step, (A,)."""
        pressed, self.tapped = [*self.tapped, *self.held], []
        chosen = [int(key) for key in pressed if key in digits(task)]
        if chosen:
            return np.array(task.actions.discrete[chosen[-1]], np.float32)
        steps = np.array([(0, 0), *(DIRECTIONS[key] for key in pressed if key in DIRECTIONS)])
        right, up = (int(axis[np.flatnonzero(axis)[-1]]) if axis.any() else 0 for axis in steps.T)
        return np.array(task.actions.of_keys(right, up), np.float32)


def digits(task: Task) -> tuple[str, ...]:
    """The digits that choose an action of a game."""
    return DIGITS[: len(task.actions.discrete)] if task.actions.own else ()


class RandomPlay:
    """Random actions, each held as long as in the task's random play: redrawn at every step they would cancel out."""

    def __init__(self, task: Task, frame_skip: int, seed: int | None) -> None:
        self.task, self.skip = task, frame_skip
        self.random = np.random.default_rng(seed)
        self.hold_left, self.index = 0, 0  # steps left of the held action, and its index

    def restart(self) -> None:
        """Draw a new action at the next step."""
        self.hold_left = 0

    def action(self) -> NDArray[np.float32]:
        """The agent's action for the next step, (A,)."""
        if self.hold_left == 0:
            scales: Sequence[tuple[int, int]] = self.task.random_play.holds
            low, high = self.random.choice(scales)
            self.hold_left = math.ceil(self.random.integers(low, high + 1) / self.skip)
            self.index = int(self.random.integers(len(self.task.actions.discrete)))
        self.hold_left -= 1
        return np.array(self.task.actions.discrete[self.index], np.float32)
