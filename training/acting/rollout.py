"""The loops in which policies act: in a batch of dreams or real games, and tick by tick in one real game."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.acting.policies import Act, Policy
from training.infra.pool import Workers, run_jobs
from wm_envs.envs.dreams import Dreams
from wm_envs.envs.engine import Engine, Mask, StepResult
from wm_envs.envs.latent_games import LatentGames
from wm_envs.games.base import Array, Frame, Game, Keywords, Task, Tick
from wm_envs.games.random_play import held_actions
from wm_envs.models.state import State
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world

TILE = 8  # real games per batch of V; fixed, so that results do not depend on the number of workers


class Rollout(NamedTuple):
    """The result of a policy in B environments."""

    returns: NDArray[Any]  # (B,) sums of rewards; (groups, rollouts) from `dream_episodes`
    steps: int  # summed over all environments


def rollout(
    engine: Engine, act: Act, observation: str, max_steps: int, before_step: Callable[[int], None] | None = None
) -> Rollout:
    """Run `act` in all environments of `engine`, already reset, until all are over or for `max_steps` steps.

    `before_step(step)` is called before every step.
    """
    task = engine.world.task
    returns: NDArray[Any] | None = None
    steps = 0
    for step in range(max_steps):
        if before_step is not None:
            before_step(step)
        actions = act(engine.observe(observation), engine.envs, step)
        running = engine.running.copy()
        result = engine.step(task.actions.to_game(actions.numpy()))
        if returns is None:
            returns = np.zeros(len(running), result.rewards.dtype)
        returns[engine.envs.numpy()] += result.rewards * running
        steps += int(running.sum())
        if not engine.running.any():
            break
        engine.drop_finished()
    assert returns is not None, "at least one step"
    return Rollout(returns, steps)


def max_steps(world: WorldModel, burn_in: int = 0) -> int:
    """Steps until the game's tick limit, after a burn-in of `burn_in` ticks."""
    return world.task.timing.steps(world.config.frame_skip, after=burn_in)


def play(game: Game, task: Task, actions: Iterable[Array], frame_skip: int = 1) -> Iterator[tuple[Array, Tick]]:
    """Play a game that is reset until its episode ends, with the agent's `actions`, each for `frame_skip` ticks.

    Yields the game's action (A,) and its Tick.
    """
    for action in islice(actions, task.timing.steps(frame_skip)):
        game_action = task.actions.to_game(action)
        tick = game.advance(game_action, frame_skip)
        yield game_action, tick
        if tick.over:
            return


def random_frames(game: Game, task: Task, seed: int, rng: np.random.Generator | None = None) -> Iterator[Frame]:
    """The frames of an episode of random play, tick by tick."""
    yield game.reset(seed)
    for _, tick in play(game, task, held_actions(task, rng or np.random.default_rng(seed))):
        if tick.frame is not None:
            yield tick.frame


# --- dreams ---------------------------------------------------------------------------------------------


class ObservedDreams(Dreams):
    """Dreams of one world, observed through the M of another world with the same V (`observer`)."""

    def __init__(self, observer: WorldModel, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.observer = observer

    def reset(self, mask: Mask | None = None, state: State | None = None) -> None:
        """Start new dreams, with the observer's recurrent state before the first step."""
        super().reset(mask, state)
        self._seen = self.observer.state_from_latents(self.state.latents)._replace(ticks=self.state.ticks)

    def step(self, actions: NDArray[np.float32]) -> StepResult:
        """One step of both Ms."""
        _, recurrent = self.observer.predict(self._seen, torch.from_numpy(actions).to(self.world.device))
        result = super().step(actions)
        self._seen = self.state._replace(recurrent=recurrent)
        return result

    def observe(self, observation: str) -> Tensor:
        """Features (B, F) from the observer's recurrent state."""
        return self.observer.observe(self._seen, observation)

    def _keep(self, running: Tensor) -> None:
        super()._keep(running)
        self._seen = self._seen.select(running.to(self.world.device))


def dream_episodes(
    world: WorldModel, policy: Policy, rollouts: int, temperature: float | Tensor, seed: int, groups: int = 1,
    observer: WorldModel | None = None,
) -> Rollout:  # fmt: skip
    """Complete dreams, groups * rollouts in one batch, with returns (groups, rollouts).

    Rollout r has the same initial state and random numbers in all groups, so that the candidates of a population are
    compared on the same dreams. `temperature` is one number or (rollouts, 1). With an `observer`, the features come
    from its M, see `ObservedDreams`.
    """
    arguments = (world, rollouts, temperature, groups)
    dreams = Dreams(*arguments) if observer is None else ObservedDreams(observer, *arguments)
    dreams.seed(seed)
    dreams.reset()
    actor = policy.actor(dreams, range(groups * rollouts))
    played = rollout(dreams, *actor, max_steps(world, world.config.burn_in))
    return Rollout(as_returns(world.task, played.returns.reshape(groups, rollouts)), played.steps)


# --- the real game --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RealJob:
    """One tile of real episodes; the result depends on nothing else."""

    world: str
    policy: Policy
    seeds: tuple[int, ...]
    game_kwargs: tuple[tuple[str, Any], ...] = ()  # keywords of `Task.open`


@functools.lru_cache(maxsize=4)
def _world(path: str) -> WorldModel:
    return load_world(path)


class Played(NamedTuple):
    """The result of one real episode."""

    score: float
    finished: bool  # the game's goal was reached


def play_real(job: RealJob) -> list[Played]:
    """Play a tile of episodes in the real game; a policy that needs no observation plays without V and M."""
    world, kwargs = _world(job.world), dict(job.game_kwargs)
    plans = job.policy.plans(world.task, job.seeds, world.config.frame_skip)
    if plans is not None:
        return _play_plans(world, job, plans)
    games = LatentGames(world, [world.task.open(**kwargs) for _ in job.seeds])
    try:
        games.reset(np.ones(len(job.seeds), bool), job.seeds)
        returns = rollout(games, *job.policy.actor(games, job.seeds), max_steps(world)).returns
        scores = as_returns(world.task, returns).tolist()
        return [Played(score, game.finished) for score, game in zip(scores, games.games, strict=True)]
    finally:
        games.close()


def _play_plans(world: WorldModel, job: RealJob, plans: NDArray[np.float32]) -> list[Played]:
    game = world.task.open(**dict(job.game_kwargs))
    played = []
    try:
        for seed, plan in zip(job.seeds, plans, strict=True):
            game.reset(seed)
            total = 0.0
            for _, tick in play(game, world.task, plan, world.config.frame_skip):
                total += tick.reward
            played.append(Played(float(as_returns(world.task, np.array(total))), game.finished))
    finally:
        game.close()
    return played


def as_returns(task: Task, totals: NDArray[Any]) -> NDArray[Any]:
    """Returns from summed rewards. For survival tasks they are capped, because the last step can exceed the limit."""
    return np.minimum(totals, task.timing.tick_limit) if task.rewards.survival else totals


def real_jobs(
    world: str | Path,
    policies: Sequence[Policy],
    seeds: list[int],
    game_kwargs: Keywords | None = None,
) -> list[RealJob]:
    """The jobs of every policy on every seed."""
    tiles = [tuple(seeds[at : at + TILE]) for at in range(0, len(seeds), TILE)]
    return [
        RealJob(str(world), policy, tile, tuple((game_kwargs or {}).items())) for policy in policies for tile in tiles
    ]


def real_episodes(
    world: str | Path,
    policies: list[Policy],
    seeds: list[int],
    workers: Workers,
    game_kwargs: Keywords | None = None,
) -> dict[str, list[Played]]:
    """Play every policy on every seed in the real game. The results are by policy name, in the order of `seeds`."""
    results: dict[str, dict[int, Played]] = {policy.name: {} for policy in policies}
    for job, played in run_jobs(play_real, real_jobs(world, policies, seeds, game_kwargs), workers):
        results[job.policy.name].update(zip(job.seeds, played, strict=True))
    return {name: [episodes[seed] for seed in seeds] for name, episodes in results.items()}


def real_returns(
    world: str | Path,
    policies: list[Policy],
    seeds: list[int],
    workers: Workers,
    game_kwargs: Keywords | None = None,
) -> dict[str, NDArray[np.float64]]:
    """As `real_episodes`, but only the returns, (seeds,) each."""
    played = real_episodes(world, policies, seeds, workers, game_kwargs)
    return {name: np.array([episode.score for episode in episodes]) for name, episodes in played.items()}
