"""Planning in the dream: M simulates what follows an action, and the best action is played in the game.

A search begins in the current State of every game; the dreams of all games run in one batch of M. All games have the
same random numbers in the same step, so an episode does not depend on the games that are played beside it.

- "flat": flat Monte Carlo. Every action has the same number of dreams; the one with the best mean return is taken.
- "shooting": random sequences of actions, one dream each; the first action of the best one is taken.
- "cem": the cross-entropy method. Sequences are drawn from probabilities that move towards the best sequences.
- "tree": PUCT with chance nodes, see `tree_search`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from typing_extensions import override

from training.acting.policies import Actor, Policy
from training.acting.simulation import Search, Simulator
from training.acting.tree_search import tree
from wm_envs.envs.engine import Engine
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel

CEM_ITERATIONS, CEM_ELITE, CEM_RATE = 3, 0.25, 0.7  # rounds of draws, share of the best, step of the probabilities


@dataclass(frozen=True)
class SearchPolicy(Search, Policy):
    """A policy that searches every `replan` steps, and repeats its action in between."""

    @override
    def actor(self, engine: Engine, seeds: Sequence[int]) -> Actor:
        simulator = Simulator(engine.world, self)
        choices = torch.from_numpy(simulator.choices)
        played = torch.zeros(len(engine.envs), dtype=torch.int64)  # the action of each environment

        def act(features: Tensor, envs: Tensor, step: int) -> Tensor:
            running = torch.from_numpy(engine.running)
            if step % self.replan == 0:
                played[envs[running]] = choose(simulator, engine.state.select(running), self.seed + step)
            return choices[played[envs]]

        return Actor(act, "z")


def choose(simulator: Simulator, state: State, seed: int) -> Tensor:
    """The index of the best action for each of G games in `state`, (G,)."""
    methods = {"flat": flat, "shooting": shooting, "cem": cross_entropy, "tree": tree}
    return methods[simulator.search.method](simulator, state, seed)


def flat(simulator: Simulator, state: State, seed: int) -> Tensor:
    """Each action first, then the rollout policy. Dream i of every action has the same random numbers.

    With a controller, another action than its proposal is taken only if its returns are better by `margin` standard
    errors of the paired differences.
    """
    search, games, actions = simulator.search, len(state.ticks), simulator.actions
    draws = search.simulations // actions
    plans = simulator.plans(draws, search.horizon, torch.Generator().manual_seed(seed))
    plans = plans.repeat(actions, 1, 1)  # (N, draws, T)
    plans[:, :, : search.hold] = torch.arange(actions)[:, None, None]
    returns = simulator.run(*_for_all(state, plans.flatten(0, 1)), draws, seed).returns.view(games, actions, draws)
    if search.controller is None:
        return returns.mean(2).argmax(1)
    proposed = simulator.proposals(state)  # (G,)
    better = returns - returns[torch.arange(games), proposed][:, None]  # (G, N, draws)
    error = better.std(2) / draws**0.5 if draws > 1 else torch.zeros(games, actions)
    advantage = better.mean(2) - search.margin * error
    advantage[torch.arange(games), proposed] = 0.0
    return advantage.argmax(1)


def shooting(simulator: Simulator, state: State, seed: int) -> Tensor:
    """The first action of the random sequence with the best return."""
    return _best_sequences(simulator, state, seed, iterations=1, elites=1)


def cross_entropy(simulator: Simulator, state: State, seed: int) -> Tensor:
    """The most probable first action after some iterations of the cross-entropy method."""
    elites = int(CEM_ELITE * simulator.search.simulations / CEM_ITERATIONS)
    return _best_sequences(simulator, state, seed, CEM_ITERATIONS, max(2, elites))


def _best_sequences(simulator: Simulator, state: State, seed: int, iterations: int, elites: int) -> Tensor:
    """The most probable first action of each game, (G,), after the probabilities have moved towards the elites.

    Every `hold` steps of a sequence have an action of their own, drawn independently of the others.
    """
    search, games, actions = simulator.search, len(state.ticks), simulator.actions
    draws, blocks = search.simulations // iterations, -(-search.horizon // search.hold)
    probability = torch.full((games, 1, blocks, actions), 1 / actions)
    generator = torch.Generator().manual_seed(seed)
    for iteration in range(iterations):
        uniform = torch.rand(draws, blocks, 1, generator=generator)
        drawn = (uniform >= probability.cumsum(3)[..., :-1]).sum(3)  # (G, draws, blocks)
        plans = simulator.held(drawn, search.horizon).flatten(0, 1)
        run = simulator.run(_repeated(state, draws), plans, draws, seed + (iteration << 32))
        best = run.returns.view(games, draws).topk(elites).indices  # (G, elites)
        chosen = drawn.gather(1, best[..., None].expand(-1, -1, blocks))
        share = one_hot(chosen, actions).float().mean(1, keepdim=True)  # (G, 1, blocks, N)
        probability = CEM_RATE * share + (1 - CEM_RATE) * probability
    return probability[:, 0, 0].argmax(1)


def _for_all(state: State, plans: Tensor) -> tuple[State, Tensor]:
    """The same plans (S, T) for each of G games: states and plans of G * S dreams."""
    return _repeated(state, len(plans)), plans.repeat(len(state.ticks), 1)


def _repeated(state: State, times: int) -> State:
    return state.select(torch.arange(len(state.ticks)).repeat_interleave(times))


def simulations_per_second(world: WorldModel, search: Search, games: int, searches: int = 3) -> float:
    """Dreams per second of this process while it searches for so many games at once."""
    simulator = Simulator(world, search)
    state = world.initial_state(games, torch.Generator().manual_seed(search.seed))
    choose(simulator, state, search.seed)  # warms up
    start = time.perf_counter()
    for number in range(searches):
        choose(simulator, state, search.seed + number)
    return games * search.simulations * searches / (time.perf_counter() - start)
