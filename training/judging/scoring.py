"""Scores: summaries with intervals, rank correlation, and the seeds of validation and test."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wm_envs import seeds
from wm_envs.games.base import Task

VALIDATION_SEEDS, TEST_SEEDS, UNSEEN_DREAMS = seeds.VALIDATION.start, seeds.TEST.start, seeds.UNSEEN_DREAMS.start


def summary(returns: NDArray[Any]) -> dict[str, float]:
    """Mean, standard deviation, half width of the mean's 95% interval, 10th percentile and count of returns (N,)."""
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return {
        "mean": float(returns.mean()), "std": deviation, "interval": 1.96 * deviation / math.sqrt(len(returns)),
        "p10": float(np.percentile(returns, 10)), "episodes": len(returns),
    }  # fmt: skip


class Distance(NamedTuple):
    """The difference between returns in dreams and in the game."""

    measure: str  # "log_ratio" or "relative_error"
    value: float
    limit: float  # from this value, dreams are too different from the game for training


def distance(task: Task, means: NDArray[Any]) -> Distance:
    """The distance between the real and dream means (P, 2) of P policies.

    Survival times are compared by the mean absolute log ratio. Other returns can be negative: they are compared by the
    mean absolute difference, divided by the range of the real means.
    """
    real, dream = means.T
    if task.rewards.survival:
        return Distance("log_ratio", float(np.abs(np.log(dream / real)).mean()), 0.5)
    return Distance("relative_error", float(np.abs(dream - real).mean() / max(np.ptp(real), 1e-9)), 0.2)


def spearman(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Spearman's rank correlation of two arrays (N,); ties get their mean rank."""
    ranks = [_ranks(values) for values in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: NDArray[Any]) -> NDArray[Any]:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[where]
