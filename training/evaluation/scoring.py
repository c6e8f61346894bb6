"""Scores: summaries with intervals, rank correlation, and the seeds of validation and test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_envs.games.base import Task

VALIDATION_SEEDS = 100_000  # episodes that controllers are chosen by
TEST_SEEDS = 200_000  # episodes that nothing is chosen by
UNSEEN_DREAMS = 1 << 40  # seeds of the dreams in which the mean is judged


def summary(returns: NDArray[Any]) -> dict[str, float]:
    """Mean, standard deviation, half width of the 95% interval of the mean, 10th percentile, count."""
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return {
        "mean": float(returns.mean()), "std": deviation, "interval": 1.96 * deviation / math.sqrt(len(returns)),
        "p10": float(np.percentile(returns, 10)), "episodes": len(returns),
    }  # fmt: skip


def distance(task: Task, means: NDArray[Any]) -> dict[str, float]:
    """How far dreams are from the game, over means (P, 2), real and dream: lifetimes by their log ratio; returns,
    which may be negative, by their difference over the spread of the real ones."""
    real, dream = means.T
    if task.reward_unit:
        return {"relative_error": float(np.abs(dream - real).mean() / max(np.ptp(real), 1e-9))}
    return {"log_ratio": float(np.abs(np.log(dream / real)).mean())}


def spearman(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Rank correlation, ties given their mean rank."""
    ranks = [_ranks(values) for values in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: NDArray[Any]) -> NDArray[Any]:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[where]
