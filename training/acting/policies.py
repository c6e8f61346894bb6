"""Policies: controllers, controllers with random steps (epsilon), and open-loop policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wm_envs.games.base import Array, Task
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.worlds.bundle import read_controller

Act = Callable[[Tensor, Tensor, int], Tensor]  # features (b, F), envs (b,) their numbers, step -> actions (b, A)


class HeldActions:
    """Random play of one episode: each action is held for a random time.

    The episode draws one of `RandomPlay.holds`, the range of these times in ticks.
    """

    def __init__(self, task: Task, rng: np.random.Generator) -> None:
        self.task, self.rng = task, rng
        self.low, self.high = task.random_play.holds[rng.integers(len(task.random_play.holds))]
        everything = range(len(task.actions.discrete))
        idle = task.random_play.idle if rng.random() < 0.5 else ()
        self.choices = [index for index in everything if index not in idle]
        self.left = 0
        self.action = np.zeros(task.actions.size, np.float32)

    def __call__(self) -> Array:
        """The action for the next tick, (A,) float32."""
        if self.left == 0:
            choice = self.choices[self.rng.integers(len(self.choices))]
            self.action = np.array(self.task.actions.discrete[choice], np.float32)
            self.left = int(self.rng.integers(self.low, self.high + 1))
        self.left -= 1
        return self.action


@dataclass(frozen=True)
class OpenLoopPolicy:
    """A policy that ignores its observation, of kind "constant", "alternate", "pause" or "hold" (see `HeldActions`)."""

    name: str
    kind: str
    first: int = 0  # the discrete action, the ticks of a movement, or the minimum hold in ticks
    last: int = 0  # the ticks of a pause, or the maximum hold in ticks

    def plan(self, task: Task, seed: int, frame_skip: int) -> NDArray[np.float32]:
        """Actions (steps, A) of one episode."""
        steps = task.timing.steps(frame_skip)
        choices = np.array(task.actions.discrete, np.float32)
        if self.kind == "constant":
            return np.repeat(choices[self.first : self.first + 1], steps, axis=0)
        if self.kind in ("alternate", "pause"):
            moving = np.array([index for index in range(len(choices)) if index not in task.random_play.idle])
            ticks = np.arange(steps) * frame_skip
            turn, within = np.divmod(ticks, self.first + (self.last if self.kind == "pause" else 0))
            return choices[np.where(within < self.first, moving[turn % len(moving)], task.random_play.idle[:1] or 0)]
        held = HeldActions(task, np.random.default_rng(seed))
        held.low, held.high = self.first, self.last
        plan = np.stack([held() for _ in range(steps * frame_skip)])
        return plan[::frame_skip]


@dataclass(frozen=True)
class ControllerPolicy:
    """A controller as plain values, which can be sent to other processes."""

    name: str
    config: ControllerConfig
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class EpsilonRandomPolicy:
    """A controller that takes a random action with probability `epsilon` per step, for a policy of medium skill."""

    policy: ControllerPolicy
    epsilon: float

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"{self.policy.name}, {100 * self.epsilon:g}% random"

    def plan(self, task: Task, seed: int, frame_skip: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """For one episode: random actions (steps, A), and the steps that take them, (steps,) bool."""
        steps, rng = task.timing.steps(frame_skip), np.random.default_rng(seed)
        choices = np.array(task.actions.discrete, np.float32)
        return choices[rng.integers(len(choices), size=steps)], rng.random(steps) < self.epsilon


Policy = OpenLoopPolicy | ControllerPolicy | EpsilonRandomPolicy


def actor(policy: Policy, task: Task, seeds: list[int], frame_skip: int) -> tuple[Act, str]:
    """A function that acts in environments with these seeds, and the observation it needs ("zh", "zch" or "z")."""
    if isinstance(policy, EpsilonRandomPolicy):
        act_greedily, observation = actor(policy.policy, task, seeds, frame_skip)
        random_actions, when = (
            torch.from_numpy(np.stack(each))
            for each in zip(*(policy.plan(task, seed, frame_skip) for seed in seeds), strict=True)
        )

        def epsilon_random(features: Tensor, envs: Tensor, step: int) -> Tensor:
            return torch.where(when[envs, step, None], random_actions[envs, step], act_greedily(features, envs, step))

        return epsilon_random, observation
    if isinstance(policy, ControllerPolicy):
        parameters, config = torch.tensor(policy.parameters), policy.config
        return (lambda features, envs, step: act(config, parameters, features)), config.observation
    plans = torch.from_numpy(np.stack([policy.plan(task, seed, frame_skip) for seed in seeds]))
    return (lambda features, envs, step: plans[envs, step]), "z"


def random_policy(task: Task) -> OpenLoopPolicy:
    """Random actions with the hold times of the first of `RandomPlay.holds`."""
    return OpenLoopPolicy("random", "hold", *task.random_play.holds[0])


def population_actor(config: ControllerConfig, candidates: NDArray[np.float64], rollouts: int) -> Act:
    """A function that acts for `candidates` (N, P): environment i is played by candidate i // rollouts.

    `envs` holds the numbers of the environments that are still running.
    """
    parameters = torch.from_numpy(candidates.astype(np.float32))

    def act_for_population(features: Tensor, envs: Tensor, step: int) -> Tensor:
        return act(config, parameters[envs // rollouts], features[:, None])[:, 0]

    return act_for_population


def load_policy(world: str | Path, name: str = "") -> ControllerPolicy:
    """A controller of a bundle (by default its first one) as a policy."""
    config, parameters = read_controller(world, name)
    return ControllerPolicy(name or "controller", config, tuple(parameters.tolist()))
