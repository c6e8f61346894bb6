"""Tree search in dreams: PUCT over the discrete actions, with chance nodes whose outcomes are drawn from M.

An edge is an action held for `hold` steps; what follows it is random, so it leads to several children, each a State
that M drew. An edge with n visits has at most about sqrt(n) children (progressive widening). A simulation goes down
the tree to an edge that may have one more child, dreams this child, and plays the rest of the horizon with the rollout
policy. All games search in lockstep, several simulations at once: those that are under way count as visits already, so
that they take different paths.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.acting.simulation import Simulator
from wm_envs.models.state import State, joined

EXPLORATION = 1.25  # weight of the prior against the values
PROPOSAL = 0.5  # prior of the controller's action; the rest is shared equally by all actions
AT_ONCE = 8  # simulations of one game that run in one batch


class Node:
    """A state in the tree of one game, and the statistics of its actions."""

    def __init__(self, state: State, row: int, prior: list[float], first: float = 0.0, weight: float = 1.0) -> None:
        self.state, self.row = state, row  # the State is this row of a batch
        self.prior = prior
        self.first, self.weight = first, weight  # expected reward on the way here, and what weighs all that follows
        self.visits = [0] * len(prior)
        self.totals = [0.0] * len(prior)  # sums of the returns that are known
        self.known = [0] * len(prior)
        self.children: list[list[Node]] = [[] for _ in prior]
        self.low, self.high = math.inf, -math.inf  # range of the returns seen here

    def select(self) -> int:
        """The action of the highest PUCT score; values are scaled to the range of returns seen in this node."""
        explore = EXPLORATION * math.sqrt(sum(self.visits) + 1)
        scores = [
            self._scaled(action) + explore * self.prior[action] / (1 + self.visits[action])
            for action in range(len(self.prior))
        ]
        return scores.index(max(scores))

    def _scaled(self, action: int) -> float:
        if not self.known[action] or self.high <= self.low:
            return 0.5
        return (self.totals[action] / self.known[action] - self.low) / (self.high - self.low)

    def best(self) -> int:
        """The action with the most visits; of these the one with the best mean."""
        return max(range(len(self.prior)), key=lambda action: (self.visits[action], self._scaled(action)))

    def back_up(self, action: int, value: float) -> None:
        """Count the return of one simulation through `action`."""
        self.totals[action] += value
        self.known[action] += 1
        self.low, self.high = min(self.low, value), max(self.high, value)


Path = list[tuple[Node, int]]  # nodes from the root on, and the action taken in each


def tree(simulator: Simulator, state: State, seed: int) -> Tensor:
    """The action with the most visits for each of G games, (G,)."""
    games, left = len(state.ticks), simulator.search.simulations
    roots = [Node(state, row, prior) for row, prior in enumerate(_priors(simulator, state))]
    generator = torch.Generator().manual_seed(seed)
    for wave in range(-(-left // AT_ONCE)):
        at_once = min(AT_ONCE, left - wave * AT_ONCE)
        paths = [descend(root) for root in roots for _ in range(at_once)]
        _expand(simulator, paths, games, generator, seed + (wave << 32))
    return torch.tensor([root.best() for root in roots])


def descend(root: Node) -> Path:
    """The way from the root to an edge that gets a new child; its visits are counted."""
    node, path = root, []
    while True:
        action = node.select()
        path.append((node, action))
        node.visits[action] += 1
        children = node.children[action]
        if len(children) ** 2 < node.visits[action] or not children:
            return path
        node = min(children, key=lambda child: sum(child.visits))


def _expand(simulator: Simulator, paths: list[Path], games: int, generator: torch.Generator, seed: int) -> None:
    """Dream one new child at the end of every path, and back up the returns."""
    search, draws = simulator.search, len(paths) // games
    limits = torch.tensor([max(search.horizon - (len(path) - 1) * search.hold, search.hold) for path in paths])
    plans = simulator.plans(draws, search.horizon, generator).repeat(games, 1)
    plans[:, : search.hold] = torch.tensor([path[-1][1] for path in paths])[:, None]
    run = simulator.run(_states(paths), plans, draws, seed, limits)
    priors = _priors(simulator, run.state)
    for row, path in enumerate(paths):
        parent, action = path[-1]
        child = Node(run.state, row, priors[row], float(run.first[row]), float(run.weight[row]))
        parent.children[action].append(child)
        value = float(run.returns[row])
        parent.back_up(action, value)
        for (node, taken), (below, _) in zip(reversed(path[:-1]), reversed(path[1:]), strict=True):
            value = below.first + below.weight * value
            node.back_up(taken, value)


def _states(paths: list[Path]) -> State:
    """The states at the ends of the paths, one after the other."""
    return joined([node.state.select(torch.tensor([node.row])) for node, _ in (path[-1] for path in paths)])


def _priors(simulator: Simulator, state: State) -> list[list[float]]:
    """Prior probabilities of the actions in every row of `state`: equal, or in favour of the controller's."""
    prior = torch.full((len(state.ticks), simulator.actions), 1 / simulator.actions)
    if simulator.search.controller is not None:
        prior *= 1 - PROPOSAL
        prior[torch.arange(len(prior)), simulator.proposals(state)] += PROPOSAL
    priors: list[list[float]] = prior.tolist()
    return priors
