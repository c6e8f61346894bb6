"""Plan in the dream: play the real game by searching for every action in dreams that begin in the current state.

It needs no learned controller; with one, the controller proposes and the search decides. Nothing is trained. The
searches and what they are compared with play the same episodes (see training/acting/planning.py).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from training.acting.planning import CEM_ITERATIONS, SearchPolicy, simulations_per_second
from training.acting.policies import Policy, load_policy, random_policy
from training.acting.rollout import TILE, play_real, real_jobs
from training.config.base import Count, Natural, NotNegative, Positive, Text
from training.config.commands import Command as BaseCommand
from training.config.commands import Machine, Seeded
from training.infra.packages import check_game
from training.infra.pool import PATIENCE, run_jobs
from training.infra.progress import Progress
from training.infra.records import read_record
from training.infra.worlds import check_controller, find_folder, fingerprint
from training.judging.scoring import VALIDATION_SEEDS, Score
from wm_envs.envs.checks import game_kwargs
from wm_envs.errors import InvalidOption, OptionsDiffer
from wm_envs.files import file_lock, write_json
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world, read_config

# command that a resumed search may change
RESUMED = ("controller", "baselines", "workers", "ray", "scores", "episodes")


class Command(BaseCommand, Seeded, Machine):
    """Play the real game by planning in the dream, and report the scores."""

    world: str = Field("takecover", description="a shipped world's name or a folder")
    method: Literal["flat", "shooting", "cem", "tree"] = Field("flat", description="how to search")
    simulations: Count = Field(48, description="dreams for one decision")
    horizon: Count = Field(20, description="steps of a dream")
    hold: Count = Field(3, description="steps for which a planned action is held")
    replan: Count = Field(1, description="steps that are played before the next search")
    discount: Annotated[Positive, Field(le=1)] = Field(1.0, description="discount factor per step")
    temperature: Positive = Field(1.0, description="temperature of the dreams")
    controller: Text = Field(
        "", description="a controller that proposes actions and plays the rest of a dream (flat, tree)"
    )
    margin: NotNegative = Field(
        0.0, description="standard errors by which another action must beat the controller's (flat)"
    )
    baselines: tuple[Literal["random", "flat", "controller"], ...] = Field(
        ("random", "flat", "controller"),
        description="baselines to run on the same episodes; flat: flat Monte Carlo with as many dreams",
    )
    episodes: Annotated[Count, Field(ge=2)] = Field(16, description="real episodes")
    first_seed: Natural = Field(VALIDATION_SEEDS, description="seed of the first episode")
    scores: Text = Field("", description="JSON file for the score of every episode; a stopped search resumes from it")

    @model_validator(mode="after")
    def _fits_the_method(self) -> Self:
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
        return self


@dataclass(frozen=True, kw_only=True)
class PolicyScore(Score):
    """The score of one policy."""

    policy: str


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """The scores of the search and of the baselines, all on the same episodes, and the speed of the search."""

    rows: tuple[PolicyScore, ...]
    simulations_per_second: float
    dream_steps_per_second: float


def main(command: Command) -> PlanResult:
    """A row for the search and for each baseline: their scores, all on the same episodes."""
    folder = find_folder(command.world)
    world = load_world(folder)
    _check_world(command, folder, world)
    search = _search(command, folder)
    policies = [search, *_baselines(command, folder, world, search)]
    scores = Scores(command, fingerprint(folder))
    seeds = list(range(command.first_seed, command.first_seed + command.episodes))
    jobs = real_jobs(folder, policies, seeds, game_kwargs(world.task, None, {}))
    with Progress("plan", len(jobs) * TILE, Path(), "episodes") as progress:
        left = [job for job in jobs if not scores.has(job.policy.name, job.seeds)]
        progress.skip((len(jobs) - len(left)) * TILE)
        for job, played in run_jobs(play_real, left, command.pool, 20 * PATIENCE):
            scores.keep(job.policy.name, dict(zip(job.seeds, (episode.score for episode in played), strict=True)))
            progress.update(TILE)
    rows = [PolicyScore(policy=p.name, **vars(Score.of(scores.of(p.name, seeds)))) for p in policies]
    for row in rows:
        print(f"{row.policy:>40}  {row.mean:7.0f} +- {row.interval:4.0f}  (p10 {row.p10:.0f})")
    speed = simulations_per_second(world, search, TILE)
    return PlanResult(rows=tuple(rows), simulations_per_second=speed, dream_steps_per_second=speed * command.horizon)


def _check_world(command: Command, folder: Path, world: WorldModel) -> None:
    """Raises the errors of command that do not fit the world, before any work."""
    check_game(world.task)
    actions = len(world.task.actions.discrete)
    if command.method == "flat" and command.simulations < actions:
        raise InvalidOption("simulations", command.simulations, f"at least {actions}, one an action", "give more")
    if command.controller:
        check_controller(folder, command.controller)


def _search(command: Command, folder: Path) -> SearchPolicy:
    shared = {
        field.name: getattr(command, field.name)
        for field in dataclasses.fields(SearchPolicy)
        if field.name not in ("name", "controller")
    }
    controller = load_policy(folder, command.controller) if command.controller else None
    name = f"{command.method}, {command.simulations} x {command.horizon}"
    return SearchPolicy(name + f", {command.controller} proposes" * bool(controller), controller=controller, **shared)


def _baselines(command: Command, folder: Path, world: WorldModel, search: SearchPolicy) -> list[Policy]:
    """The policies that the search is compared with; those that it is itself, or that do not exist, are left out."""
    found: list[Policy] = []
    if "random" in command.baselines:
        found.append(random_policy(world.task))
    plain = dataclasses.replace(
        search, name=f"flat, {command.simulations} x {command.horizon}", method="flat", controller=None, margin=0.0
    )
    if "flat" in command.baselines and plain != search and command.simulations >= len(world.task.actions.discrete):
        found.append(plain)
    if "controller" in command.baselines and read_config(folder)["controllers"]:
        found.append(load_policy(folder, command.controller))
    return found


class Scores:
    """The scores of all episodes so far, in a file if one is named; what it has is not played again."""

    def __init__(self, command: Command, world: str) -> None:
        self.path = Path(command.scores) if command.scores else None
        same = {name: value for name, value in command.as_json().items() if name not in RESUMED}
        self.header = {"world": world, "options": same | {"world": str(command.world)}}
        self.scores: dict[str, dict[str, float]] = {}
        if self.path is not None and self.path.exists():
            found = read_record(self.path)
            self.scores = found.pop("scores", {})
            if found != self.header:
                raise OptionsDiffer(
                    "scores", f"{self.path} of another search: {found.get('options')}", f"that of {self.header}",
                    "give its command, or another --scores file",
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
