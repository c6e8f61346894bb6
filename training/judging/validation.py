"""Controllers scored in dreams and in the real game."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.acting.policies import ControllerPolicy, Policy, Population
from training.acting.rollout import dream_episodes, real_episodes, real_returns
from training.infra.pool import Workers
from training.judging.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS, Card, Score
from wm_envs.games.base import Keywords
from wm_envs.games.registry import get_task
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import read_config


def game_score(
    folder: Path, policy: Policy, seeds: list[int], workers: Workers, game_kwargs: Keywords
) -> tuple[Score, NDArray[np.float64]]:
    """The score of a policy's real episodes on `seeds`, and the score of every episode, (seeds,)."""
    played = real_episodes(folder, [policy], seeds, workers, game_kwargs)[policy.name]
    returns = np.array([episode.score for episode in played])
    survival = get_task(read_config(folder)["world"]["task"]).rewards.survival
    finished = None if survival else sum(episode.finished for episode in played) / len(played)
    return Score.of(returns, finished=finished), returns


def spread_temperatures(low: float, high: float, rollouts: int) -> torch.Tensor:
    """The temperature of each rollout, (rollouts, 1), evenly spaced from `low` to `high`."""
    return torch.linspace(low, high, rollouts)[:, None]


def evaluate_policy(
    world: WorldModel, policy: ControllerPolicy, temperatures: torch.Tensor, features_of: str | Path, episodes: int,
    workers: Workers, observer: WorldModel | None = None,
) -> Card:  # fmt: skip
    """Evaluate a controller in unseen dreams, one for each of `temperatures` (N, 1), and in the real game.

    The real game is played on the validation seeds, with the features of the bundle `features_of` (0 `episodes`: dreams
    only).
    """
    population = Population(policy.config, np.array([policy.parameters]), len(temperatures))
    dreams = dream_episodes(world, population, len(temperatures), temperatures, UNSEEN_DREAMS, observer=observer)
    return Card(
        dream=Score.of(dreams.returns[0]),
        validation=validation(features_of, policy, episodes, workers) if episodes else None,
    )


def validation(world: str | Path, policy: ControllerPolicy, episodes: int, workers: Workers) -> Score:
    """The score of a policy in the real game on the validation seeds."""
    seeds = [VALIDATION_SEEDS + i for i in range(episodes)]
    return Score.of(real_returns(world, [policy], seeds, workers)[policy.name])
