"""How faithful a dream is: policies play the game and the dream, and their scores are compared.

The protocol needs two functions, so that any model of a game can be judged by it (see docs/fidelity.md):

- `real(policy)` plays episodes of the game and gives their returns;
- `dream(policy)` plays episodes of the model and gives theirs.

A faithful model ranks the policies as the game does (Spearman) and gives each the score that it has in the game (mean
absolute log ratio). A third of the policies is held out: nothing about a model may be chosen by their scores.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.acting.policies import Policy
from training.judging.returns import Returns
from training.judging.scoring import Score, distance, spearman
from wm_envs.games.base import Task

PARTS = ("all", "chosen by", "held out")


def is_held_out(name: str) -> bool:
    """Whether no choice may look at this policy: a third of all names, by their CRC-32."""
    return zlib.crc32(name.encode()) % 3 == 0


@dataclass(frozen=True, kw_only=True)
class PolicyRow:
    """A policy's scores in both. Reports of before `held_out` do not have it."""

    policy: str
    held_out: bool | None = None
    real: Score
    dream: Score


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well the scores of some policies agree."""

    spearman: float = math.nan  # rank correlation; not a number for fewer than two policies
    log_ratio: float | None = None  # distance in games of survival, see `scoring.distance`
    relative_error: float | None = None  # distance in other games

    @property
    def distances(self) -> dict[str, float]:
        """The distance, by the name of its measure."""
        measures = {"log_ratio": self.log_ratio, "relative_error": self.relative_error}
        return {name: value for name, value in measures.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class PartAgreement(Agreement):
    """The agreement of one part of the policies."""

    policies: int


@dataclass(frozen=True, kw_only=True)
class FidelityReport(Agreement):
    """The agreement of all policies, of the parts of PARTS that have at least two, and a row for each policy."""

    policies: tuple[PolicyRow, ...]
    parts: dict[str, PartAgreement] = field(default_factory=dict)
    temperature: float | None = None  # of the dreams


def compare(
    task: Task,
    policies: Iterable[Policy],
    real: Callable[[Policy], Returns],
    dream: Callable[[Policy], Returns],
    temperature: float | None = None,
) -> FidelityReport:
    """Play every policy in both and compare the scores."""
    rows = tuple(
        PolicyRow(
            policy=policy.name,
            held_out=is_held_out(policy.name),
            real=Score.of(real(policy)),
            dream=Score.of(dream(policy)),
        )
        for policy in policies
    )
    choosing, held_out = ([row for row in rows if row.held_out is part] for part in (False, True))
    groups = dict(zip(PARTS, (rows, choosing, held_out), strict=True))
    agreements = {name: _agreement(task, group) for name, group in groups.items() if len(group) > 1}
    return FidelityReport(
        **agreements.get("all", {}),
        policies=rows,
        parts={name: PartAgreement(**values, policies=len(groups[name])) for name, values in agreements.items()},
        temperature=temperature,
    )


def _agreement(task: Task, rows: Sequence[PolicyRow]) -> dict[str, float]:
    """The fields of `Agreement`."""
    means = np.array([[row.real.mean, row.dream.mean] for row in rows])
    difference = distance(task, means)
    return {"spearman": spearman(means[:, 0], means[:, 1]), difference.measure: difference.value}
