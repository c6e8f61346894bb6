"""Controllers scored in dreams and in the real game."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.evaluation.policies import ControllerPolicy, Policy, population_actor
from training.evaluation.rollout import dream_episodes, real_episodes, real_returns
from training.evaluation.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS, summary
from training.infra.pool import Workers
from wm_envs.games.registry import get_task
from wm_envs.models.bundle import read_config
from wm_envs.models.world_model import WorldModel


def score(
    folder: Path, policy: Policy, seeds: list[int], workers: Workers, game_kwargs: dict[str, Any]
) -> tuple[dict[str, float], list[float]]:
    """Summary of a policy's real episodes on `seeds`, with the share that reached the goal where the game has one, and
    the scores themselves."""
    played = real_episodes(folder, [policy], seeds, workers, game_kwargs)[policy.name]
    scores = [episode.score for episode in played]
    found = summary(np.array(scores))
    if not get_task(read_config(folder)["world"]["task"]).survival:
        found["finished"] = sum(episode.finished for episode in played) / len(played)
    return found, scores


def spread_temperatures(low: float, high: float, rollouts: int) -> torch.Tensor:
    """The temperature of each rollout, (R, 1), spread evenly from `low` to `high` (0: all `low`)."""
    return torch.linspace(low, high or low, rollouts)[:, None]


def evaluate_policy(
    world: WorldModel, policy: ControllerPolicy, temperatures: torch.Tensor, features_of: str | Path, episodes: int,
    workers: Workers, observer: WorldModel | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A controller on unseen dreams, one for each temperature of `temperatures` (N, 1), and in the real game on the
    validation seeds, seen through the bundle `features_of` (0 episodes: dreams only)."""
    act_for_lanes = population_actor(policy.config, np.array([policy.parameters]), len(temperatures))
    dreams = dream_episodes(
        world, act_for_lanes, policy.config.observation, 1, len(temperatures), temperatures, UNSEEN_DREAMS, observer
    )
    card = {"dream": summary(dreams.returns[0])}
    if episodes:
        card["validation"] = validation(features_of, policy, episodes, workers)
    return card


def selection_score(card: dict[str, Any]) -> float:
    """What controllers are chosen by: the mean in the real game where it was validated, else in dreams."""
    return float((card["validation"] if "validation" in card else card["dream"])["mean"])


def selection_key(card: dict[str, Any]) -> tuple[bool, float]:
    """What those of one search are chosen by: who was validated in the game is worth more than who was not."""
    return "validation" in card, selection_score(card)


def validation(world: str | Path, policy: ControllerPolicy, episodes: int, workers: Workers) -> dict[str, float]:
    """A policy in the real game, on the seeds kept for choosing."""
    seeds = [VALIDATION_SEEDS + i for i in range(episodes)]
    return summary(real_returns(world, [policy], seeds, workers)[policy.name])
