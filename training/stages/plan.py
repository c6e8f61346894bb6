"""Plan in the dream: play the real game by searching for every action in dreams that begin in the current state.

It needs no learned controller; with one, the controller proposes and the search decides. Nothing is trained. The
searches and what they are compared with play the same episodes (see training/acting/planning.py).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.acting.planning import CEM_ITERATIONS, SearchPolicy, simulations_per_second
from training.acting.policies import Policy, load_policy, random_policy
from training.acting.rollout import TILE, play_real, real_jobs
from training.acting.simulation import METHODS
from training.infra.option_groups import SeedOption, WorkerOptions
from training.infra.options import as_json, check_options, stage_option
from training.infra.packages import check_game
from training.infra.pool import PATIENCE, Workers, run_jobs
from training.infra.progress import Progress
from training.infra.records import read_record
from training.infra.worlds import check_controller, find_folder, fingerprint
from training.judging.scoring import VALIDATION_SEEDS, Score
from wm_envs.envs.checks import game_kwargs
from wm_envs.errors import InvalidOption, OptionsDiffer
from wm_envs.files import file_lock, write_json
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world, read_config

BESIDE = ("random", "flat", "controller")
RESUMED = ("controller", "beside", "workers", "ray", "scores", "episodes")  # options that a resumed search may change


@dataclass
class PlanOptions(SeedOption, WorkerOptions):
    """Play the real game by planning in the dream, and report the scores."""

    world: str = stage_option("takecover", "a shipped world's name or a folder")
    method: str = stage_option("flat", f"how to search: {', '.join(METHODS)}", choices=METHODS)
    simulations: int = stage_option(48, "dreams for one decision", minimum=1)
    horizon: int = stage_option(20, "steps of a dream", minimum=1)
    hold: int = stage_option(3, "steps for which a planned action is held", minimum=1)
    replan: int = stage_option(1, "steps that are played before the next search", minimum=1)
    discount: float = stage_option(1.0, "of the reward of a later step", exclusive_minimum=0, maximum=1)
    temperature: float = stage_option(1.0, "temperature of the dreams", exclusive_minimum=0)
    controller: str = stage_option("", "a controller that proposes actions and plays the rest of a dream (flat, tree)")
    margin: float = stage_option(
        0.0, "standard errors by which another action must beat the controller's (flat)", minimum=0
    )
    beside: tuple[str, ...] = stage_option(
        BESIDE, "what plays the same episodes: random, flat (flat Monte Carlo with as many dreams), controller",
        choices=BESIDE,
    )  # fmt: skip
    episodes: int = stage_option(16, "real episodes", minimum=2)
    first_seed: int = stage_option(VALIDATION_SEEDS, "seed of the first episode", minimum=0)
    scores: str = stage_option("", "JSON file for the score of every episode, from which a stopped search resumes")

    def check(self) -> None:
        """Raises `InvalidOption` for options that contradict each other."""
        super().check()
        least = {"cem": CEM_ITERATIONS * 2}.get(self.method, 1)
        if self.simulations < least:
            raise InvalidOption(
                "simulations", self.simulations, f"at least {least} with --method {self.method}", "give more"
            )
        if self.hold > self.horizon:
            raise InvalidOption("hold", self.hold, f"at most the horizon, {self.horizon}", "give fewer steps")
        if self.controller and self.method not in ("flat", "tree"):
            raise InvalidOption("controller", self.controller, "none with this method", "give --method flat or tree")
        if self.margin and (self.method != "flat" or not self.controller):
            raise InvalidOption(
                "margin", self.margin, "0 without --method flat and a --controller", "give --controller, or omit it"
            )


@dataclass(frozen=True, kw_only=True)
class PolicyScore(Score):
    """The score of one policy."""

    policy: str


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """The scores of the search and of the policies beside it, all on the same episodes, and the speed of the search."""

    rows: tuple[PolicyScore, ...]
    simulations_per_second: float
    dream_steps_per_second: float


def main(options: PlanOptions) -> PlanResult:
    """A row for the search and for each policy beside it: their scores, all on the same episodes."""
    check_options(options)
    folder = find_folder(options.world)
    world = load_world(folder)
    _check_world(options, folder, world)
    search = _search(options, folder)
    policies = [search, *_beside(options, folder, world, search)]
    scores = Scores(options, fingerprint(folder))
    seeds = list(range(options.first_seed, options.first_seed + options.episodes))
    jobs = real_jobs(folder, policies, seeds, game_kwargs(world.task, None, {}))
    with Progress("plan", len(jobs) * TILE, Path(), "episodes") as progress:
        left = [job for job in jobs if not scores.has(job.policy.name, job.seeds)]
        progress.skip((len(jobs) - len(left)) * TILE)
        for job, played in run_jobs(play_real, left, Workers(options.workers, options.ray), 20 * PATIENCE):
            scores.keep(job.policy.name, dict(zip(job.seeds, (episode.score for episode in played), strict=True)))
            progress.update(TILE)
    rows = [PolicyScore(policy=p.name, **vars(Score.of(scores.of(p.name, seeds)))) for p in policies]
    for row in rows:
        print(f"{row.policy:>40}  {row.mean:7.0f} +- {row.interval:4.0f}  (p10 {row.p10:.0f})")
    speed = simulations_per_second(world, search, TILE)
    return PlanResult(rows=tuple(rows), simulations_per_second=speed, dream_steps_per_second=speed * options.horizon)


def _check_world(options: PlanOptions, folder: Path, world: WorldModel) -> None:
    """Raises the errors of options that do not fit the world, before any work."""
    check_game(world.task)
    actions = len(world.task.actions.discrete)
    if options.method == "flat" and options.simulations < actions:
        raise InvalidOption("simulations", options.simulations, f"at least {actions}, one an action", "give more")
    if options.controller:
        check_controller(folder, options.controller)


def _search(options: PlanOptions, folder: Path) -> SearchPolicy:
    shared = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(SearchPolicy)
        if field.name not in ("name", "controller")
    }
    controller = load_policy(folder, options.controller) if options.controller else None
    name = f"{options.method}, {options.simulations} x {options.horizon}"
    return SearchPolicy(name + f", {options.controller} proposes" * bool(controller), controller=controller, **shared)


def _beside(options: PlanOptions, folder: Path, world: WorldModel, search: SearchPolicy) -> list[Policy]:
    """The policies that the search is compared with; those that it is itself, or that do not exist, are left out."""
    found: list[Policy] = []
    if "random" in options.beside:
        found.append(random_policy(world.task))
    plain = dataclasses.replace(
        search, name=f"flat, {options.simulations} x {options.horizon}", method="flat", controller=None, margin=0.0
    )
    if "flat" in options.beside and plain != search and options.simulations >= len(world.task.actions.discrete):
        found.append(plain)
    if "controller" in options.beside and read_config(folder)["controllers"]:
        found.append(load_policy(folder, options.controller))
    return found


class Scores:
    """The scores of all episodes so far, in a file if one is named; what it has is not played again."""

    def __init__(self, options: PlanOptions, world: str) -> None:
        self.path = Path(options.scores) if options.scores else None
        same = {name: value for name, value in as_json(options).items() if name not in RESUMED}
        self.header = {"world": world, "options": same | {"world": str(options.world)}}
        self.scores: dict[str, dict[str, float]] = {}
        if self.path is not None and self.path.exists():
            found = read_record(self.path)
            self.scores = found.pop("scores", {})
            if found != self.header:
                raise OptionsDiffer(
                    "scores", f"{self.path} of another search: {found.get('options')}", f"that of {self.header}",
                    "give its options, or another --scores file",
                )  # fmt: skip

    def has(self, policy: str, seeds: tuple[int, ...]) -> bool:
        """Whether all these episodes of a policy have been played."""
        return all(str(seed) in self.scores.get(policy, {}) for seed in seeds)

    def keep(self, policy: str, played: dict[int, float]) -> None:
        """Add the scores of episodes, by their seeds."""
        self.scores.setdefault(policy, {}).update({str(seed): score for seed, score in played.items()})
        if self.path is not None:
            with file_lock(self.path, wait=True):
                write_json(self.path, self.header | {"scores": self.scores})

    def of(self, policy: str, seeds: list[int]) -> np.ndarray:
        """The scores (N,) of a policy in the order of the seeds."""
        return np.array([self.scores[policy][str(seed)] for seed in seeds])
