"""Policies to play with: bred controllers, and scripts that follow a plan whatever they see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.collect import HeldActions
from wm_envs.controller import ControllerConfig, act
from wm_envs.tasks import Task

Act = Callable[[Tensor, Tensor, int], Tensor]  # features (b, F), lanes (b,), step -> actions (b, A)


@dataclass(frozen=True)
class Script:
    """An open-loop policy: "constant" (at a discrete action), "alternate" or "hold"."""

    name: str
    kind: str
    first: int = 0  # the discrete action, the ticks between changes, or the shortest hold
    last: int = 0  # the longest hold

    def plan(self, task: Task, seed: int, frame_skip: int) -> NDArray[np.float32]:
        """Actions (steps, A) of one episode."""
        steps = -(-task.tick_limit // frame_skip)
        choices = np.array(task.discrete_actions, np.float32)
        if self.kind == "constant":
            return np.repeat(choices[self.first : self.first + 1], steps, axis=0)
        if self.kind == "alternate":
            moving = [index for index in range(len(choices)) if index not in task.idle_actions]
            turn = (np.arange(steps) * frame_skip // self.first) % len(moving)
            return choices[np.array(moving)[turn]]
        held = HeldActions(task, np.random.default_rng(seed))
        held.low, held.high = self.first, self.last
        plan = np.stack([held() for _ in range(steps * frame_skip)])
        return plan[::frame_skip]


@dataclass(frozen=True)
class Bred:
    """A bred controller, as plain values that travel between processes."""

    name: str
    config: ControllerConfig
    parameters: tuple[float, ...]


Policy = Script | Bred


def actor(policy: Policy, task: Task, seeds: list[int], frame_skip: int) -> tuple[Act, str]:
    """A function that acts for lanes with these seeds, and the observation it wants."""
    if isinstance(policy, Bred):
        parameters, config = torch.tensor(policy.parameters), policy.config
        return (lambda features, lanes, step: act(config, parameters, features)), config.observation
    plans = torch.from_numpy(np.stack([policy.plan(task, seed, frame_skip) for seed in seeds]))
    return (lambda features, lanes, step: plans[lanes, step]), "z"


def scripts(task: Task) -> list[Script]:
    """The scripted half of the fidelity battery: constants, alternations, random holds."""
    constants = [Script(f"constant {values}", "constant", i) for i, values in enumerate(task.discrete_actions)]
    alternating = [Script(f"alternate {k}", "alternate", k) for k in (20, 40, 80, 120)]
    holds = [Script(f"hold {low}-{high}", "hold", low, high) for low, high in task.hold_scales]
    return [*constants, *alternating, *holds]
