"""Policies to play with: bred controllers, the same when they slip, and scripts that follow a plan, blindly."""

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


@dataclass(frozen=True)
class Slipping:
    """A bred controller that does something random instead in a `share` of its steps: one of middling skill."""

    bred: Bred
    share: float

    @property
    def name(self) -> str:
        """As it is called in tables."""
        return f"{self.bred.name}, {100 * self.share:g}% random"

    def plan(self, task: Task, seed: int, frame_skip: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """What it does when it slips (steps, A), and when that is (steps,), in one episode."""
        steps, rng = -(-task.tick_limit // frame_skip), np.random.default_rng(seed)
        choices = np.array(task.discrete_actions, np.float32)
        return choices[rng.integers(len(choices), size=steps)], rng.random(steps) < self.share


Policy = Script | Bred | Slipping


def actor(policy: Policy, task: Task, seeds: list[int], frame_skip: int) -> tuple[Act, str]:
    """A function that acts for lanes with these seeds, and the observation it wants."""
    if isinstance(policy, Slipping):
        sober, observation = actor(policy.bred, task, seeds, frame_skip)
        slips, when = (
            torch.from_numpy(np.stack(each))
            for each in zip(*(policy.plan(task, seed, frame_skip) for seed in seeds), strict=True)
        )

        def slipping(features: Tensor, lanes: Tensor, step: int) -> Tensor:
            return torch.where(when[lanes, step, None], slips[lanes, step], sober(features, lanes, step))

        return slipping, observation
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


def random_play(task: Task) -> Script:
    """Random actions, held as long as random play holds them at the task's first scale."""
    return Script("random", "hold", *task.hold_scales[0])
