"""Simulations for planning: dreams that begin in the states of games and follow plans, with their expected returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.acting.policies import ControllerPolicy
from wm_envs.envs.dreams import Dreams
from wm_envs.models.controller import act
from wm_envs.models.state import Outcome, State
from wm_envs.models.world_model import WorldModel

METHODS = ("flat", "shooting", "cem", "tree")
CONTROLLER = -1  # in a plan: the controller acts


@dataclass(frozen=True)
class Search:
    """How to search in dreams for the next action."""

    name: str
    method: str = "flat"  # one of METHODS
    simulations: int = 48  # dreams for one decision
    horizon: int = 20  # steps of a dream
    hold: int = 3  # steps for which a planned action is held
    replan: int = 1  # steps that are played before the next search
    discount: float = 1.0  # of the reward of a later step
    temperature: float = 1.0
    controller: ControllerPolicy | None = None  # proposes actions and plays the rest of a dream; None: random play
    margin: float = 0.0  # standard errors by which an action must beat the controller's (flat)
    seed: int = 0


class Simulated(NamedTuple):
    """Expected results of B dreams. Later parts are weighted by the probability that the dream gets there."""

    returns: Tensor  # (B,) of the whole dream
    first: Tensor  # (B,) of the first `hold` steps
    weight: Tensor  # (B,) probability to survive these steps, times their discount
    state: State  # (B dreams) after these steps


class Simulator:
    """Dreams of one world for a `Search`.

    Returns are expected ones: a dream never ends, but its rewards are weighted by M's probability that it still runs.
    That has less variance than ends that are drawn.
    """

    def __init__(self, world: WorldModel, search: Search) -> None:
        self.world, self.search = world, search
        self.choices = np.array(world.task.actions.discrete, np.float32)  # (N, A) the agent's actions
        self._controller = torch.tensor(search.controller.parameters if search.controller else ())  # (P,)

    @property
    def actions(self) -> int:
        """N, the number of actions to choose from."""
        return len(self.choices)

    def run(self, state: State, plans: Tensor, draws: int, seed: int, limits: Tensor | None = None) -> Simulated:
        """Dream from `state` (B dreams) along `plans` (B, T): indices of actions, or `CONTROLLER`.

        Dream i has random numbers i % `draws`. `limits` (B,) are the steps that count, by default all.
        """
        dreams = Dreams(self.world, draws, self.search.temperature, len(plans) // draws)
        dreams.seed(seed)
        dreams.reset(state=state)
        returns, weight = torch.zeros(len(plans)), torch.ones(len(plans))
        first, survived, after = returns, weight, state
        for step in range(plans.shape[1]):
            result = dreams.step(self._actions(dreams, plans[:, step]))
            reward, ended, end = map(
                torch.from_numpy, (result.rewards, result.terminated, result.infos["termination_probability"])
            )
            counts = 1.0 if limits is None else (limits > step).float()
            returns = returns + counts * weight * self.world.expected_reward(Outcome(reward, ended, end))
            weight = weight * (1 - end) * self.search.discount
            if step + 1 == self.search.hold:
                first, survived, after = returns, weight, dreams.state
        return Simulated(returns, first, survived, after)

    def _actions(self, dreams: Dreams, plan: Tensor) -> np.ndarray:
        """The game's actions (B, A) for one column of the plans, (B,)."""
        actions = self.choices[plan.clamp(min=0).numpy()]
        if bool((plan == CONTROLLER).any()):
            actions = np.where((plan == CONTROLLER).numpy()[:, None], self._controlled(dreams.state), actions)
        return self.world.task.actions.to_game(actions)

    def _controlled(self, state: State) -> np.ndarray:
        """What the controller does, (B, A)."""
        assert self.search.controller is not None
        config = self.search.controller.config
        return act(config, self._controller, self.world.observe(state, config.observation)).numpy()

    def proposals(self, state: State) -> Tensor:
        """The index of the action that is nearest to the controller's, (B,)."""
        proposed = torch.from_numpy(self._controlled(state))
        return torch.cdist(proposed, torch.from_numpy(self.choices)).argmin(dim=1)

    def plans(self, count: int, steps: int, generator: torch.Generator) -> Tensor:
        """Plans (count, steps) of the rollout policy: the controller, or random actions held for `hold` steps."""
        if self.search.controller is not None:
            return torch.full((count, steps), CONTROLLER)
        blocks = torch.randint(self.actions, (count, -(-steps // self.search.hold)), generator=generator)
        return self.held(blocks, steps)

    def held(self, blocks: Tensor, steps: int) -> Tensor:
        """Plans (..., steps) from one action for each `hold` steps, (..., blocks)."""
        return blocks.repeat_interleave(self.search.hold, dim=-1)[..., :steps]
