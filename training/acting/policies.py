"""Policies: each knows how to act. They are plain values, which can be sent to other processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from wm_envs.envs.engine import Engine
from wm_envs.games.base import Task
from wm_envs.games.random_play import held_actions
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.worlds.bundle import read_controller

Act = Callable[[Tensor, Tensor, int], Tensor]  # features (b, F), envs (b,) their numbers, step -> actions (b, A)


class Actor(NamedTuple):
    """A policy at work in the environments of an engine."""

    act: Act
    observation: str  # the features that `act` is given: "zh", "zch" or "z"


class Policy(ABC):
    """What plays the game and the dream. Results call it by `name`."""

    name: str

    @abstractmethod
    def actor(self, engine: Engine, seeds: Sequence[int]) -> Actor:
        """Act in `engine`, which is reset. Environment i draws its own random choices from `seeds[i]`."""

    def plans(self, task: Task, seeds: Sequence[int], frame_skip: int) -> NDArray[np.float32] | None:
        """The actions (seeds, steps, A) of whole episodes, if the policy needs no observation; else None."""
        return None


# --- without observation --------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenLoopPolicy(Policy):
    """A policy that ignores its observation."""

    name: str

    @abstractmethod
    def plan(self, task: Task, seed: int, frame_skip: int) -> NDArray[np.float32]:
        """The actions (steps, A) of one episode."""

    @override
    def plans(self, task: Task, seeds: Sequence[int], frame_skip: int) -> NDArray[np.float32]:
        return np.stack([self.plan(task, seed, frame_skip) for seed in seeds])

    @override
    def actor(self, engine: Engine, seeds: Sequence[int]) -> Actor:
        plans = torch.from_numpy(self.plans(engine.world.task, seeds, engine.world.config.frame_skip))
        return Actor(lambda features, envs, step: plans[envs, step], "z")


@dataclass(frozen=True)
class Constant(OpenLoopPolicy):
    """The same action all the time."""

    action: int  # index in `Actions.discrete`

    @override
    def plan(self, task: Task, seed: int, frame_skip: int) -> NDArray[np.float32]:
        action = np.array(task.actions.discrete[self.action], np.float32)
        return np.tile(action, (task.timing.steps(frame_skip), 1))


@dataclass(frozen=True)
class MoveAndWait(OpenLoopPolicy):
    """Take the moving actions in turn, each for `move` ticks, and idle for `wait` ticks after each."""

    move: int
    wait: int = 0

    @override
    def plan(self, task: Task, seed: int, frame_skip: int) -> NDArray[np.float32]:
        choices, idle = np.array(task.actions.discrete, np.float32), task.random_play.idle
        moving = np.array([index for index in range(len(choices)) if index not in idle])
        ticks = np.arange(task.timing.steps(frame_skip)) * frame_skip
        turn, within = np.divmod(ticks, self.move + self.wait)
        return choices[np.where(within < self.move, moving[turn % len(moving)], idle[:1] or 0)]


@dataclass(frozen=True)
class Tap(OpenLoopPolicy):
    """Take an action for one step at ticks 0, `every`, 2 `every` and so on, and rest between."""

    action: int  # index in `Actions.discrete`
    rest: int
    every: int

    @override
    def plan(self, task: Task, seed: int, frame_skip: int) -> NDArray[np.float32]:
        ticks = np.arange(task.timing.steps(frame_skip)) * frame_skip
        choices = np.array(task.actions.discrete, np.float32)
        return choices[np.where(ticks % self.every < frame_skip, self.action, self.rest)]


@dataclass(frozen=True)
class RandomHolds(OpenLoopPolicy):
    """Random actions, each held for `low` to `high` ticks."""

    low: int
    high: int

    @override
    def plan(self, task: Task, seed: int, frame_skip: int) -> NDArray[np.float32]:
        actions = held_actions(task, np.random.default_rng(seed), (self.low, self.high))
        return np.stack(list(islice(actions, 0, task.timing.steps(frame_skip) * frame_skip, frame_skip)))


def random_policy(task: Task) -> RandomHolds:
    """Random actions with the hold times of the first of `RandomPlay.holds`."""
    return RandomHolds("random", *task.random_play.holds[0])


# --- controllers ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ControllerPolicy(Policy):
    """A controller."""

    name: str
    config: ControllerConfig
    parameters: tuple[float, ...]

    @override
    def actor(self, engine: Engine, seeds: Sequence[int]) -> Actor:
        parameters = torch.tensor(self.parameters)
        return Actor(lambda features, envs, step: act(self.config, parameters, features), self.config.observation)


@dataclass(frozen=True)
class LinearScript(Policy):
    """Reacts to what it sees: the scores of the actions are random linear functions of the latents, drawn with a seed.

    Latents that V does not use have no weight. The action taken before is preferred, by `sticky`.
    """

    name: str
    seed: int
    sticky: float = 0.5  # standard deviations of a score

    @override
    def actor(self, engine: Engine, seeds: Sequence[int]) -> Actor:
        world = engine.world
        center, logvar = (
            world.observe(world.state_from_latents(values), "z").mean(0).cpu()
            for values in (world.initial_means, world.initial_logvars)
        )
        choices = torch.tensor(world.task.actions.discrete)
        normal = torch.randn(len(center), len(choices), generator=torch.Generator().manual_seed(self.seed))
        weight = normal * (1 - logvar.exp()).clamp(0, 1)[:, None]  # (Z, N)
        bonus = self.sticky * float(weight.square().sum(0).mean().sqrt())
        taken = torch.full((len(engine.envs),), -1)

        def react(features: Tensor, envs: Tensor, step: int) -> Tensor:
            scores = (features.cpu() - center) @ weight
            before = taken[envs][:, None] == torch.arange(len(choices))
            taken[envs] = (scores + bonus * before).argmax(-1)
            return choices[taken[envs]]

        return Actor(react, "z")


@dataclass(frozen=True)
class EpsilonRandomPolicy(Policy):
    """A policy that takes a random action with probability `epsilon` per step."""

    policy: Policy
    epsilon: float

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name in tables."""
        return f"{self.policy.name}, {100 * self.epsilon:g}% random"

    @override
    def actor(self, engine: Engine, seeds: Sequence[int]) -> Actor:
        task, steps = engine.world.task, engine.world.task.timing.steps(engine.world.config.frame_skip)
        choices = np.array(task.actions.discrete, np.float32)
        rngs = [np.random.default_rng(seed) for seed in seeds]
        actions = torch.from_numpy(np.stack([choices[rng.integers(len(choices), size=steps)] for rng in rngs]))
        random = torch.from_numpy(np.stack([rng.random(steps) < self.epsilon for rng in rngs]))
        greedy, observation = self.policy.actor(engine, seeds)

        def epsilon_random(features: Tensor, envs: Tensor, step: int) -> Tensor:
            return torch.where(random[envs, step, None], actions[envs, step], greedy(features, envs, step))

        return Actor(epsilon_random, observation)


class Population(Policy):
    """Candidates (N, P) for a controller: environment i is played by candidate i // `rollouts`."""

    name = "population"

    def __init__(self, config: ControllerConfig, candidates: NDArray[np.float64], rollouts: int) -> None:
        self.config, self.rollouts = config, rollouts
        self.parameters = torch.from_numpy(candidates.astype(np.float32))

    @override
    def actor(self, engine: Engine, seeds: Sequence[int]) -> Actor:
        return Actor(self._act, self.config.observation)

    def _act(self, features: Tensor, envs: Tensor, step: int) -> Tensor:
        return act(self.config, self.parameters[envs // self.rollouts], features[:, None])[:, 0]


def load_policy(world: str | Path, name: str = "") -> ControllerPolicy:
    """A controller of a bundle (by default its first one) as a policy."""
    config, parameters = read_controller(world, name)
    return ControllerPolicy(name or "controller", config, tuple(parameters.tolist()))
