"""Scores with intervals, the card of a controller, rank correlation, and the seeds of validation and test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wm_envs import seeds
from wm_envs.games.base import Keywords, Task

VALIDATION_SEEDS, TEST_SEEDS, UNSEEN_DREAMS = seeds.VALIDATION.start, seeds.TEST.start, seeds.UNSEEN_DREAMS.start


@dataclass(frozen=True, kw_only=True)
class Score:
    """The returns of some episodes in short."""

    mean: float
    std: float  # standard deviation
    interval: float  # half the width of the 95% interval of the mean
    p10: float  # 10th percentile
    episodes: int
    finished: float | None = None  # share of the episodes that reached the goal, in a game with a goal

    @classmethod
    def of(cls, returns: NDArray[Any], finished: float | None = None) -> Score:
        """The score of returns (N,)."""
        std = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
        return cls(
            mean=float(returns.mean()),
            std=std,
            interval=1.96 * std / math.sqrt(len(returns)),
            p10=float(np.percentile(returns, 10)),
            episodes=len(returns),
            finished=finished,
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95% interval of the mean."""
        return self.mean - self.interval, self.mean + self.interval

    def __str__(self) -> str:
        return f"{self.mean:.0f} +- {self.std:.0f}"


@dataclass(frozen=True, kw_only=True)
class Evaluation(Score):
    """The score of a controller in the real game, and how it was played. Model cards leave some of it out."""

    controller: str
    world: str | None = None
    game: Keywords | None = None  # of `Task.open`
    first_seed: int | None = None
    scores: dict[str, float] | None = None  # of every episode, by its seed


@dataclass(frozen=True, kw_only=True)
class Card:
    """The scores with which a bundle keeps a controller; a merged controller may have none."""

    dream: Score | None = None  # in dreams that no training uses
    validation: Score | None = None  # in the real game, on the validation seeds
    temperature: float | None = None  # of the dreams

    @property
    def selection(self) -> tuple[bool, float]:
        """Key by which controllers of one search are compared: those validated in the game come above all others."""
        return self.validation is not None, self.selection_score

    @property
    def selection_score(self) -> float:
        """The mean score in the real game if it is validated there, else in dreams."""
        score = self.validation or self.dream
        assert score is not None, "a controller that was scored"
        return score.mean

    @property
    def means(self) -> dict[str, float]:
        """The mean scores, by "dream" and "validation"."""
        scores = {"dream": self.dream, "validation": self.validation}
        return {name: score.mean for name, score in scores.items() if score}


@dataclass(frozen=True, kw_only=True)
class Learned(Card):
    """The card of a controller that has just been trained, with its learning curve."""

    curve: tuple[tuple[int, float], ...] = ()  # (steps until a validation, mean score in the real game)
    generations: int | None = None  # of CMA-ES

    @property
    def card(self) -> Card:
        """The card alone."""
        return Card(dream=self.dream, validation=self.validation, temperature=self.temperature)


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
