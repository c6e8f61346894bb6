"""Baselines of a game: the best policies that look at nothing, which a controller has to beat."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.acting.policies import Constant, OpenLoopPolicy, random_policy
from training.acting.rollout import RealJob, play_real
from training.infra.packages import check_game
from training.infra.pool import Workers, run_jobs
from training.judging.battery import open_loop_battery
from training.judging.returns import Returns, StoredReturns
from training.judging.scoring import VALIDATION_SEEDS, Score
from wm_envs.games.registry import get_task
from wm_envs.worlds.bundle import read_config

FEW = 4  # episodes of every policy at first, and episodes in a job
FINALISTS = 2  # policies of each kind that then play all episodes


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A policy that looks at nothing, and its score in the real game."""

    policy: str
    score: Score


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Random play, the best constant action and the best of the other scripts, if there was time for one."""

    random: Baseline
    constant: Baseline | None = None
    script: Baseline | None = None
    untried: tuple[str, ...] = ()  # the policies for which there was no time

    @property
    def best(self) -> Baseline:
        """The one with the highest mean."""
        tried = [each for each in (self.random, self.constant, self.script) if each]
        return max(tried, key=lambda each: each.score.mean)

    def beaten_by(self, score: Score) -> bool:
        """Whether a score in the real game is better than the best baseline, beyond the 95% interval."""
        best = self.best.score
        return score.mean - best.mean > math.hypot(score.interval, best.interval)


def measure_baselines(
    folder: Path, episodes: int, workers: Workers, cache: Path | None = None, seconds: float = 60.0
) -> Baselines:
    """Play the open-loop policies of the game of the world in `folder` on the validation seeds.

    All play `FEW` episodes; random play and the best of each kind then play all `episodes`. After `seconds` no further
    episode begins. Returns are stored in the file `cache`, as those of `fidelity`, and not played again.
    """
    task = get_task(read_config(folder)["world"]["task"])
    rivals = _Rivals(folder, workers, cache)
    battery = open_loop_battery(task)
    kinds: dict[str, list[OpenLoopPolicy]] = {
        "random": [random_policy(task)],
        "constant": [policy for policy in battery if isinstance(policy, Constant)],
        "script": [policy for policy in battery if not isinstance(policy, Constant)],
    }
    start, everyone = time.monotonic(), [policy for kind in kinds.values() for policy in kind]
    rivals.play(everyone, min(FEW, episodes), start + seconds / 2)
    finalists = [policy for kind in kinds.values() for policy in rivals.ranked(kind)[:FINALISTS]]
    rivals.play(finalists, episodes, start + seconds)
    best = {name: rivals.best(kind) for name, kind in kinds.items()}
    untried = tuple(policy.name for policy in everyone if policy not in rivals.returns)
    assert best["random"], "it plays first"
    return Baselines(random=best["random"], constant=best["constant"], script=best["script"], untried=untried)


class _Rivals:
    """Open-loop policies and their returns so far."""

    def __init__(self, folder: Path, workers: Workers, cache: Path | None) -> None:
        world = read_config(folder)["world"]
        self.folder, self.workers, self.cache = folder, workers, cache
        self.task = get_task(world["task"])
        self.stored = StoredReturns(self.task, int(world["frame_skip"]), VALIDATION_SEEDS, cache)
        self.returns: dict[OpenLoopPolicy, Returns] = {}

    def play(self, policies: Sequence[OpenLoopPolicy], episodes: int, deadline: float) -> None:
        """Play so many episodes of each policy until the deadline; the first policy is played in any case."""
        known = {policy: self.stored.get(policy, episodes) for policy in policies}
        self.returns |= {policy: returns for policy, returns in known.items() if returns is not None}
        missing = [policy for policy, returns in known.items() if returns is None]
        if not missing:
            return
        check_game(self.task)
        seeds = [VALIDATION_SEEDS + i for i in range(episodes)]
        tiles = [tuple(seeds[at : at + FEW]) for at in range(0, episodes, FEW)]
        jobs = [RealJob(str(self.folder), policy, tile) for policy in missing for tile in tiles]
        scores: dict[OpenLoopPolicy, dict[int, float]] = {policy: {} for policy in missing}
        for job, played in run_jobs(play_real, jobs, self.workers):
            of_policy = scores[next(policy for policy in missing if policy == job.policy)]
            of_policy |= {seed: one.score for seed, one in zip(job.seeds, played, strict=True)}
            if time.monotonic() > deadline and (self.returns or len(scores[missing[0]]) == episodes):
                break
        whole = {policy: of for policy, of in scores.items() if len(of) == episodes}
        fresh = {policy: np.array([of[seed] for seed in seeds]) for policy, of in whole.items()}
        self.returns |= fresh
        if self.cache is not None:
            self.stored.keep(fresh)

    def ranked(self, policies: Sequence[OpenLoopPolicy]) -> list[OpenLoopPolicy]:
        """Those that have played, the best first."""
        played = [policy for policy in policies if policy in self.returns]
        return sorted(played, key=lambda policy: -self.returns[policy].mean())

    def best(self, policies: Sequence[OpenLoopPolicy]) -> Baseline | None:
        """The best of those that have played the most episodes."""
        ranked = self.ranked(policies)
        most = max((len(self.returns[policy]) for policy in ranked), default=0)
        chosen = next((policy for policy in ranked if len(self.returns[policy]) == most), None)
        return Baseline(policy=chosen.name, score=Score.of(self.returns[chosen])) if chosen else None
