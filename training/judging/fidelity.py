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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.acting.policies import Constant, MoveAndWait, OpenLoopPolicy, Policy, RandomHolds
from training.infra.records import read_record
from training.judging.scoring import Score, distance, spearman
from wm_envs.files import write_json
from wm_envs.games.base import Task
from wm_envs.games.registry import TASKS

Returns = NDArray[np.float64]  # (N,) of N episodes
PARTS = ("all", "chosen by", "held out")


@dataclass(frozen=True)
class Battery:
    """The lengths, in ticks, of what the open-loop policies of a game do."""

    alternations: tuple[int, ...] = (20, 40, 80, 120)  # between the moving actions
    pauses: tuple[tuple[int, int], ...] = ()  # move for so many ticks, be idle for so many, and so on
    holds: tuple[tuple[int, int], ...] = ()  # beside those of random play


BATTERIES = {
    "takecover": Battery(
        (12, 20, 28, 40, 52, 60, 72, 80, 92, 100, 120, 132, 150),
        ((30, 30), (60, 20), (60, 60), (60, 100), (60, 130), (100, 40)),
        ((10, 10), (30, 30), (60, 60), (90, 90)),
    )
}
BY_TICK = Battery((2, 5, 10, 20))  # of other games in which a step of M is one tick


def open_loop_battery(task: Task) -> list[OpenLoopPolicy]:
    """The fixed policies of a game: constant actions, alternations, pauses and random holds."""
    ticks = BATTERIES.get(task.name, BY_TICK if task.timing.frame_skip == 1 else Battery())
    return [
        *(Constant(f"constant {action}", index) for index, action in enumerate(task.actions.discrete)),
        *(MoveAndWait(f"alternate {move}", move) for move in ticks.alternations),
        *(MoveAndWait(f"move {move}, wait {wait}", move, wait) for move, wait in ticks.pauses),
        *(RandomHolds(f"hold {low}-{high}", low, high) for low, high in (*task.random_play.holds, *ticks.holds)),
    ]


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


# --- stored scores of the real game -----------------------------------------------------------------------------------


def stored_file(task: Task) -> Path:
    """The file with the real returns of a game's open-loop policies that comes with the package; it may not exist."""
    return Path(__file__).parent / "real_scores" / f"{task.name}.json"


class StoredReturns:
    """Real returns of open-loop policies, which depend on no model: of the package and of a cache file.

    An entry is for one policy, one number of ticks in a step and a first seed; its returns are in the order of the
    seeds, so fewer episodes are a part of more.
    """

    def __init__(self, task: Task, frame_skip: int, first_seed: int, cache: Path | None = None) -> None:
        self._cache, self._key = cache, f"{frame_skip}/{first_seed}"
        self._own = {} if cache is None else _read(cache)
        stored = _read(stored_file(task)) if task.name in TASKS else {}
        self._known = stored | self._own

    def get(self, policy: Policy, episodes: int) -> Returns | None:
        """The first `episodes` returns; None if there are fewer."""
        found = self._known.get(f"{policy.name}/{self._key}", []) if isinstance(policy, OpenLoopPolicy) else []
        return np.array(found[:episodes], float) if len(found) >= episodes else None

    def keep(self, played: dict[Policy, Returns]) -> None:
        """Add returns of open-loop policies to the cache file; others depend on a world and are left out."""
        assert self._cache is not None
        self._own |= {
            f"{policy.name}/{self._key}": returns.tolist()
            for policy, returns in played.items()
            if isinstance(policy, OpenLoopPolicy)
        }
        write_json(self._cache, {"returns": self._own})


def _read(path: Path) -> dict[str, list[float]]:
    return dict(read_record(path).get("returns", {})) if path.exists() else {}
