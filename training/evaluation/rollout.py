"""Whole episodes of a policy, many at once: in dreams, and in the real game."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from training.evaluation.policies import Act, Policy, actor
from training.infra.pool import Workers, run_jobs
from wm_envs.envs.latent_games import LatentGames
from wm_envs.games.base import Task
from wm_envs.models.bundle import load_world
from wm_envs.models.state import Noise
from wm_envs.models.world_model import WorldModel

TILE = 8  # real games that share a batch of V; fixed, so that results do not depend on the workers
COMPACT_BELOW = 0.8  # lanes that ended are dropped when fewer than this share goes on


class Dreams(NamedTuple):
    """Whole dreams, played."""

    returns: NDArray[np.float32]  # (groups, rollouts)
    steps: int  # that all of them took together


def dream_episodes(
    world: WorldModel,
    act: Act,
    observation: str,
    groups: int,
    rollouts: int,
    temperature: float | torch.Tensor,
    seed: int,
    observer: WorldModel | None = None,
) -> Dreams:
    """Dreams of (groups, rollouts) in one batch; rollout r dreams alike in every group.

    All groups share the starts and the random numbers of rollout r, so that candidates of a
    population are compared on the same dreams. `temperature` is one number or (rollouts, 1). With an
    `observer` the dream is that of `world`, but what is seen comes from the observer's M.
    """
    generator = torch.Generator().manual_seed(seed)
    lanes = torch.arange(groups * rollouts)
    state = world.start(rollouts, generator).select(lanes % rollouts)
    returns = torch.zeros(groups * rollouts)
    temperatures = torch.as_tensor(temperature, dtype=torch.float32).reshape(-1, 1).expand(rollouts, 1)
    alive, steps = torch.ones(len(lanes), dtype=torch.bool), 0
    seen = state if observer is None else observer.begin(state.latents)._replace(ticks=state.ticks)
    for step in range(-(-(world.task.tick_limit - world.config.burn_in) // world.config.frame_skip)):
        which = lanes % rollouts
        actions = act(world.observe(seen, observation), lanes, step)
        game_action = torch.from_numpy(world.task.game_action(actions.numpy()))
        noise = Noise(*(value[which] for value in world.draw_noise(rollouts, generator)))
        state, outcome = world.step(state, game_action, noise, temperatures[which])
        if observer is not None:
            _, hidden, cell = observer.predict(seen, game_action)
            seen = state._replace(hidden=hidden, cell=cell)
        else:
            seen = state
        returns[lanes] += outcome.reward * alive
        steps += int(alive.sum())
        alive &= ~outcome.terminated
        going = int(alive.sum())
        if going == 0:
            break
        if going < COMPACT_BELOW * len(lanes):
            state, seen, lanes, alive = state.select(alive), seen.select(alive), lanes[alive], alive[alive]
    return Dreams(as_returns(world.task, returns.view(groups, rollouts).numpy()), steps)


@dataclass(frozen=True)
class RealJob:
    """One tile of real episodes; a job is all that its result depends on."""

    world: str
    policy: Policy
    seeds: tuple[int, ...]
    how: tuple[tuple[str, Any], ...] = ()  # to open the game


@functools.lru_cache(maxsize=4)
def _world(path: str) -> WorldModel:
    return load_world(path)


class Played(NamedTuple):
    """What became of one real episode."""

    score: float
    finished: bool  # the game's goal was reached


def play_real(job: RealJob) -> list[Played]:
    """Play a tile of episodes in the real game."""
    world = _world(job.world)
    games = LatentGames(world, len(job.seeds), **dict(job.how))
    act, observation = actor(job.policy, world.task, list(job.seeds), world.config.frame_skip)
    returns = np.zeros(len(job.seeds))
    lanes = torch.arange(len(job.seeds))
    try:
        games.reset(range(len(job.seeds)), job.seeds)
        for step in range(-(-world.task.tick_limit // world.config.frame_skip)):
            actions = act(world.observe(games.state, observation), lanes, step)
            rewards, _ = games.step(world.task.game_action(actions.numpy()))
            returns += rewards
            if not games.running.any():
                break
        finished = [game.finished for game in games.games]
    finally:
        games.close()
    scores = as_returns(world.task, returns).tolist()
    return [Played(*each) for each in zip(scores, finished, strict=True)]


def as_returns(task: Task, totals: NDArray[Any]) -> NDArray[Any]:
    """Summed rewards as returns: where they are ticks survived, the last step may go beyond the limit."""
    return np.minimum(totals, task.tick_limit) if task.survival else totals


def real_episodes(
    world: str | Path, policies: list[Policy], seeds: list[int], workers: Workers, how: dict[str, Any] | None = None
) -> dict[str, list[Played]]:
    """Play every policy on every seed in the real game; by its name, in the order of `seeds`."""
    tiles = [tuple(seeds[at : at + TILE]) for at in range(0, len(seeds), TILE)]
    jobs = [RealJob(str(world), policy, tile, tuple((how or {}).items())) for policy in policies for tile in tiles]
    found: dict[str, dict[int, Played]] = {policy.name: {} for policy in policies}
    for job, played in run_jobs(play_real, jobs, workers):
        found[job.policy.name].update(zip(job.seeds, played, strict=True))
    return {name: [episodes[seed] for seed in seeds] for name, episodes in found.items()}


def real_returns(
    world: str | Path, policies: list[Policy], seeds: list[int], workers: Workers, how: dict[str, Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The returns alone of `real_episodes`."""
    played = real_episodes(world, policies, seeds, workers, how)
    return {name: np.array([episode.score for episode in episodes]) for name, episodes in played.items()}
