"""What chooses the actions: you with the keys, a controller of the world, or random play."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

import wm_envs
from wm_envs.games.base import Task
from wm_envs.games.random_play import held_actions
from wm_envs.models.controller import Controller
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import read_config, resolve

YOU, CONTROLLER, RANDOM = DRIVERS = ("you", "controller", "random")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, 1), "down": (0, -1)}  # right, up
DIGITS = tuple("0123456789")  # number keys select discrete actions that have no arrow key


def load_controllers(world: str) -> dict[str, Controller]:
    """Every controller of a world, by name; the first one is the world's best. Raises `BrokenWorld`."""
    return {name: wm_envs.load_controller(world, name) for name in read_config(resolve(world))["controllers"]}


class Keys:
    """The directions and digits that are held down, and those pressed since the last step, also if released again."""

    def __init__(self) -> None:
        self.held: list[str] = []  # of two opposite ones, the last counts
        self.tapped: list[str] = []

    def press(self, key: str) -> bool:
        """Press a direction or digit; returns whether `key` is one."""
        if key not in DIRECTIONS and key not in DIGITS:
            return False
        self.tapped.append(key)
        self.held.append(key)
        return True

    def release(self, key: str) -> None:
        """Release a direction or digit."""
        if key in self.held:
            self.held.remove(key)

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


class Driver:
    """Chooses the actions of one world. `kind` is one of DRIVERS; `controller` names the controller in use."""

    def __init__(
        self,
        world: WorldModel,
        kind: str = YOU,
        controllers: Mapping[str, Controller] | None = None,
        controller: str = "",
        seed: int | None = None,
    ) -> None:
        self.world, self.kind = world, kind
        self.controllers = dict(controllers or {})
        self.controller = controller or next(iter(self.controllers), "")
        self.keys = Keys()
        self._rng = np.random.default_rng(seed)
        self.restart()

    def restart(self) -> None:
        """An episode begins: it has random play of its own."""
        self._random_play = islice(held_actions(self.world.task, self._rng), 0, None, self.world.config.frame_skip)

    @property
    def name(self) -> str:
        """YOU, RANDOM, or the controller's name."""
        return self.controller if self.kind == CONTROLLER else self.kind

    @property
    def words(self) -> str:
        """Who is in control, as a text."""
        return {YOU: "you are in control", RANDOM: "random actions"}.get(self.kind, f"controller '{self.controller}'")

    def next_kind(self) -> None:
        """Switch between you, the controller (if there is one) and random actions."""
        kinds = [kind for kind in DRIVERS if kind != CONTROLLER or self.controllers]
        self.kind = kinds[(kinds.index(self.kind) + 1) % len(kinds)]

    def next_controller(self) -> bool:
        """Give control to a controller: the current one, or if it has control, the next. False if there is none."""
        names = list(self.controllers)
        if names and self.kind == CONTROLLER:
            self.controller = names[(names.index(self.controller) + 1) % len(names)]
        self.kind = CONTROLLER if names else self.kind
        return bool(names)

    def action(self, state: State) -> NDArray[np.float32]:
        """The agent's action (A,) in a state, a batch of one."""
        action = self.keys.action(self.world.task)
        if self.kind == RANDOM:
            return next(self._random_play)
        if self.kind == CONTROLLER and self.controllers:
            controller = self.controllers[self.controller]
            with torch.no_grad():
                return controller(self.world.observe(state, controller.config.observation).cpu())[0].numpy()
        return action
