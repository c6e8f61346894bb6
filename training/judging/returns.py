"""Returns of policies in dreams and in the real game, where stored ones are not played again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.acting.policies import OpenLoopPolicy, Policy
from training.acting.rollout import dream_episodes, real_returns
from training.infra.packages import check_game
from training.infra.pool import Workers
from training.infra.records import read_result, write_result
from training.judging.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS
from wm_envs.games.base import Task
from wm_envs.games.registry import TASKS
from wm_envs.models.world_model import WorldModel

Returns = NDArray[np.float64]  # (N,) of N episodes


def dream_returns(world: WorldModel, policy: Policy, dreams: int, temperature: float) -> Returns:
    """The returns (dreams,) of a policy in dreams that no training uses."""
    return dream_episodes(world, policy, dreams, temperature, UNSEEN_DREAMS).returns[0]


def game_returns(
    folder: Path, world: WorldModel, policies: Sequence[Policy], episodes: int, workers: Workers,
    cache: Path | None = None, replay: bool = False,
) -> dict[str, Returns]:  # fmt: skip
    """The returns (episodes,) by the name of the policy: stored ones, or with `replay` none of these, and the others
    from the game, which go into the file `cache`."""
    stored = StoredReturns(world.task, world.config.frame_skip, VALIDATION_SEEDS, cache)
    stored_returns = {} if replay else {policy.name: stored.get(policy, episodes) for policy in policies}
    known = {name: returns for name, returns in stored_returns.items() if returns is not None}
    missing = [policy for policy in policies if policy.name not in known]
    if missing:
        check_game(world.task)
    played = real_returns(folder, missing, [VALIDATION_SEEDS + i for i in range(episodes)], workers)
    if cache is not None:
        stored.keep({policy: played[policy.name] for policy in missing})
    return known | played


def stored_file(task: Task) -> Path:
    """The file with the real returns of a game's open-loop policies that comes with the package; it may not exist."""
    return Path(__file__).parent / "real_scores" / f"{task.name}.json"


@dataclass(frozen=True)
class ReturnsFile:
    """Returns by "POLICY/TICKS OF A STEP/FIRST SEED"."""

    returns: dict[str, tuple[float, ...]] = field(default_factory=dict)


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
        returns = self._known.get(f"{policy.name}/{self._key}", ()) if isinstance(policy, OpenLoopPolicy) else ()
        return np.array(returns[:episodes], float) if len(returns) >= episodes else None

    def keep(self, played: Mapping[Any, Returns]) -> None:
        """Add returns of open-loop policies to the cache file; others depend on a world and are left out."""
        assert self._cache is not None
        self._own |= {
            f"{policy.name}/{self._key}": tuple(returns.tolist())
            for policy, returns in played.items()
            if isinstance(policy, OpenLoopPolicy)
        }
        write_result(self._cache, ReturnsFile(self._own))


def _read(path: Path) -> dict[str, tuple[float, ...]]:
    return read_result(ReturnsFile, path).returns if path.exists() else {}
