"""Train a linear controller with CMA-ES, a whole generation in one batch of dreams.

A search resumes by replaying its history: the scores of every generation are on disk, and CMA-ES draws
from a seeded generator, so asking and telling again gives the same distribution to the bit.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from training.acting.policies import ControllerPolicy, Policy, Population
from training.acting.rollout import dream_episodes, real_returns
from training.config.base import FLAT, MAY_CHANGE, ON_DISK, Config, Count, Natural, NotNegative, Positive, Text
from training.config.commands import LearnerCommand
from training.config.records import recorded
from training.infra.progress import Progress
from training.infra.records import read_result, to_json, write_result
from training.infra.run_folder import RoundFolder
from training.judging.scoring import Card, Learned
from training.judging.validation import evaluate_policy, spread_temperatures
from wm_envs.errors import BrokenStore, Diverged, InvalidOption
from wm_envs.models.controller import ControllerConfig
from wm_envs.models.world_model import WorldModel
from wm_envs.seeds import GAME_TRAINING
from wm_envs.worlds.bundle import load_world, read_controller, save_controller


class EvolveConfig(Config):
    """How CMA-ES trains a controller."""

    generations: Annotated[Count, MAY_CHANGE] = Field(60, description="number of generations")
    steps: Annotated[Count | Literal["none"], MAY_CHANGE] = Field(
        "none", description="step budget in dreams; replaces --generations"
    )
    population: Annotated[Count, Field(ge=2)] = Field(64, description="candidates per generation")
    rollouts: Count = Field(16, description="episodes per candidate")
    observation: Literal["zh", "zch", "z"] = Field("zh", description="what C sees")
    sigma: Positive = Field(0.1, description="initial standard deviation")
    decay: NotNegative = Field(0.01, description="L2 penalty on the parameters")
    validate_every: Annotated[Count, MAY_CHANGE] = Field(10, description="generations between validations")
    validate_episodes: Annotated[Natural, MAY_CHANGE] = Field(
        48, description="real episodes per validation (0: validate in dreams only)"
    )

    @property
    def budget(self) -> tuple[int, str]:
        """How long to search, and in which unit."""
        return (self.generations, "generations") if self.steps == "none" else (self.steps, "steps")


class Command(LearnerCommand):
    """Train a controller with CMA-ES in the world of a round; the world keeps it under its name."""

    observer: Annotated[Text, ON_DISK] = Field(
        "", description="another world with the same V, whose M makes the features that C sees"
    )
    config: Annotated[EvolveConfig, FLAT] = EvolveConfig()

    @model_validator(mode="after")
    def _counts_steps_in_dreams_only(self) -> Self:
        if self.config.steps != "none" and self.train_in == "game":
            fix = "give --generations, or train in the dream"
            raise InvalidOption("steps", self.config.steps, "none in the real game", fix)
        return self


class Search:
    """CMA-ES that maximises, has its own random generator and can be replayed."""

    def __init__(self, mean: NDArray[np.float64], sigma: float, population: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        options = {
            "popsize": population, "seed": math.nan, "randn": lambda *shape: self.rng.standard_normal(shape),
            "verbose": -9, "verb_log": 0, "signals_filename": None, "maxiter": math.inf,
        }  # fmt: skip
        with warnings.catch_warnings():  # cma warns without matplotlib, and about the signals file; it needs neither
            warnings.simplefilter("ignore", UserWarning)
            import cma  # of the extra 'train', which --help does not need

            self.strategy = cma.CMAEvolutionStrategy(mean, sigma, options)
        self.candidates: list[NDArray[np.float64]] = []

    def ask(self) -> NDArray[np.float64]:
        """The next candidates, (N, P)."""
        self.candidates = self.strategy.ask()
        return np.stack(self.candidates)

    def tell(self, fitness: NDArray[np.float64]) -> None:
        """Fitness (N,) of the last candidates; higher is better. Refuses values that are not finite."""
        if not np.isfinite(fitness).all():
            raise Diverged(
                "fitness", "not finite", "finite scores", "check the world with `python -m training fidelity`"
            )
        self.strategy.tell(self.candidates, list(-fitness))

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of the distribution, (P,)."""
        return np.asarray(self.strategy.mean)


@dataclass(frozen=True, kw_only=True)
class Generation(Card):
    """One generation in history.json, with the card and the parameters of the mean if it is validated."""

    scores: tuple[float, ...]
    fitness: tuple[float, ...]
    steps: int | None = None  # in dreams
    parameters: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class History:
    """All generations so far."""

    generations: tuple[Generation, ...]


def main(command: Command) -> Learned:
    """Train for `generations`, keep every validated mean, save the one that validates best."""
    folder = command.world_round(command.config.validate_episodes)
    with recorded(folder.evolve(command.name).options, command):
        return Training(folder, command).run()


class Training:
    """The search for one controller. It resumes by replaying the generations in its history."""

    def __init__(self, folder: RoundFolder, command: Command) -> None:
        self.folder, self.command, self.config = folder, command, command.config
        self.world = load_world(folder.world)
        self.observer = _load_observer(command.observer) if command.observer else None
        self.path = folder.evolve(command.name).history
        memory = self.world.config.memory
        self.controller = ControllerConfig(
            self.world.observed_latents, memory.hidden, memory.action, self.config.observation
        )
        mean = np.zeros(self.controller.parameters)
        if command.start:
            self.controller, parameters = read_controller(command.start_folder(folder).world, command.start)
            mean = parameters.numpy().astype(np.float64)
        self.search = Search(mean, self.config.sigma, self.config.population, command.seed)
        self.history = _replay(self.search, self.path)
        if self.config.steps != "none" and not all(entry.steps for entry in self.history):
            raise BrokenStore(
                "history",
                f"{self.path}, which does not say how many steps were taken",
                "the steps of every generation",
                "give --generations, or another --name",
            )

    def run(self) -> Learned:
        """Search, or go on; returns the card of the best mean, and the learning curve."""
        validated = [entry for entry in self.history if entry.parameters]
        best = max(validated, key=lambda entry: entry.selection, default=None)
        total, unit = self.config.budget
        with Progress(f"evolve-{self.command.name}", total, self.folder.logs, unit) as progress:
            progress.skip(self._done())
            while self._done() < total:
                before, entry = self._done(), self._next_generation()
                if entry.parameters and (best is None or entry.selection > best.selection):
                    best = entry
                progress.update(self._done() - before)
                shown = {"mean": float(np.mean(entry.scores)), "best": max(entry.scores)}
                progress.log(len(self.history) - 1, shown | entry.means)
        if best is None:  # resumed with fewer generations than there are, none of them validated
            best = self._validated(Generation(scores=(), fitness=()))
        card = Card(dream=best.dream, validation=best.validation, temperature=self.command.temperature)
        parameters = torch.tensor(best.parameters)
        save_controller(self.folder.world, self.command.name, self.controller, parameters, to_json(card))
        return Learned(**vars(card), curve=_curve(self.history), generations=len(self.history))

    def _done(self) -> int:
        """How far the search is, in the unit of its budget."""
        in_steps = self.config.steps != "none"
        return sum(entry.steps or 0 for entry in self.history) if in_steps else len(self.history)

    def _next_generation(self) -> Generation:
        """Play a generation, validate where it is due, and write the history."""
        number, candidates = len(self.history), self.search.ask()
        scores, steps = self._play(candidates, number)
        fitness = scores - self.config.decay * (candidates**2).mean(axis=1)
        self.search.tell(fitness)
        shown = tuple(float(f"{score:.6g}") for score in scores)
        self.history.append(Generation(scores=shown, fitness=tuple(fitness.tolist()), steps=steps or None))
        if (number + 1) % self.config.validate_every == 0 or self._done() >= self.config.budget[0]:
            self.history[-1] = self._validated(self.history[-1])
        write_result(self.path, History(generations=tuple(self.history)))
        return self.history[-1]

    def _play(self, candidates: NDArray[np.float64], generation: int) -> tuple[NDArray[np.float64], int]:
        """Mean return of every candidate, (N,), all on the same episodes, and the steps taken (0 in the game)."""
        command, rollouts = self.command, self.config.rollouts
        seed = command.seed * 1_000_003 + generation
        if command.train_in == "game":
            policies: list[Policy] = [
                ControllerPolicy(str(number), self.controller, tuple(map(float, candidate)))
                for number, candidate in enumerate(candidates)
            ]
            seeds = [GAME_TRAINING.start + seed * rollouts + rollout for rollout in range(rollouts)]
            returns = real_returns(self.folder.world, policies, seeds, command.pool)
            return np.array([returns[policy.name].mean() for policy in policies]), 0
        dreams = dream_episodes(
            self.world,
            Population(self.controller, candidates, rollouts),
            rollouts,
            spread_temperatures(command.temperature, command.highest, rollouts),
            seed,
            len(candidates),
            self.observer,
        )
        return dreams.returns.mean(axis=1, dtype=np.float64), dreams.steps

    def _validated(self, generation: Generation) -> Generation:
        """The generation with the card of the distribution's mean, and its parameters."""
        command = self.command
        policy = ControllerPolicy("mean", self.controller, tuple(self.search.mean.astype(np.float32).tolist()))
        card = evaluate_policy(
            self.world,
            policy,
            spread_temperatures(command.temperature, command.highest, 256),
            command.observer or self.folder.world,
            self.config.validate_episodes,
            command.pool,
            self.observer,
        )
        return dataclasses.replace(
            generation, parameters=policy.parameters, dream=card.dream, validation=card.validation
        )


@functools.cache
def _load_observer(folder: str) -> WorldModel:
    return load_world(folder)


def _curve(history: list[Generation]) -> tuple[tuple[int, float], ...]:
    """The learning curve of `Learned`."""
    steps = np.cumsum([entry.steps or 0 for entry in history]).tolist()
    return tuple((at, entry.validation.mean) for at, entry in zip(steps, history, strict=True) if entry.validation)


def _replay(search: Search, path: Path) -> list[Generation]:
    """Replay the generations that are on disk."""
    if not path.exists():
        return []
    history = list(read_result(History, path).generations)
    try:
        for entry in history:
            search.ask()
            search.tell(np.array(entry.fitness))
    except ValueError as error:
        raise BrokenStore(
            "history", f"{path} ({error})", "the scores of every generation", "remove it to start again"
        ) from error
    return history
