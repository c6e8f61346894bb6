"""Controllers scored in dreams and in the real game."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.acting.policies import ControllerPolicy, Policy, population_actor
from training.acting.rollout import dream_episodes, real_episodes, real_returns
from training.infra.pool import Workers
from training.judging.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS, summary
from wm_envs.games.registry import get_task
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import read_config


def score(
    folder: Path, policy: Policy, seeds: list[int], workers: Workers, game_kwargs: dict[str, Any]
) -> tuple[dict[str, float], list[float]]:
    """A policy's real episodes on `seeds`: the summary of their scores, and the scores.

    If the game has a goal, "finished" is the fraction of episodes that reached it.
    """
    played = real_episodes(folder, [policy], seeds, workers, game_kwargs)[policy.name]
    scores = [episode.score for episode in played]
    found = summary(np.array(scores))
    if not get_task(read_config(folder)["world"]["task"]).rewards.survival:
        found["finished"] = sum(episode.finished for episode in played) / len(played)
    return found, scores


def spread_temperatures(low: float, high: float, rollouts: int) -> torch.Tensor:
    """The temperature of each rollout, (rollouts, 1), evenly spaced from `low` to `high` (0: all `low`)."""
    return torch.linspace(low, high or low, rollouts)[:, None]


def evaluate_policy(
    world: WorldModel, policy: ControllerPolicy, temperatures: torch.Tensor, features_of: str | Path, episodes: int,
    workers: Workers, observer: WorldModel | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Evaluate a controller in unseen dreams, one for each of `temperatures` (N, 1), and in the real game.

    The real game is played on the validation seeds, with the features of the bundle `features_of` (0 `episodes`: dreams
    only). Returns the summaries "dream" and "validation".
    """
    act = population_actor(policy.config, np.array([policy.parameters]), len(temperatures))
    dreams = dream_episodes(
        world, act, policy.config.observation, 1, len(temperatures), temperatures, UNSEEN_DREAMS, observer
    )
    card = {"dream": summary(dreams.returns[0])}
    if episodes:
        card["validation"] = validation(features_of, policy, episodes, workers)
    return card


def selection_score(card: dict[str, Any]) -> float:
    """The mean score by which controllers are selected: in the real game if validated there, else in dreams."""
    return float((card["validation"] if "validation" in card else card["dream"])["mean"])


def selection_key(card: dict[str, Any]) -> tuple[bool, float]:
    """Sort key for the controllers of one search: those validated in the game come above all others."""
    return "validation" in card, selection_score(card)


def validation(world: str | Path, policy: ControllerPolicy, episodes: int, workers: Workers) -> dict[str, float]:
    """Summary of a policy's returns in the real game on the validation seeds."""
    seeds = [VALIDATION_SEEDS + i for i in range(episodes)]
    return summary(real_returns(world, [policy], seeds, workers)[policy.name])
