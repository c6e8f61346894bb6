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

import numpy as np
import torch
from numpy.typing import NDArray

from training.acting.policies import ControllerPolicy, Policy, Population
from training.acting.rollout import dream_episodes, real_returns
from training.infra.option_groups import DreamOptions, RealGameOptions, SeedOption, WorldRoundOptions, plain_name
from training.infra.options import check_options, check_run_options, stage_option
from training.infra.packages import check_game
from training.infra.pool import Workers
from training.infra.progress import Progress
from training.infra.records import read_result, to_json, write_result
from training.infra.run_folder import RoundFolder
from training.infra.worlds import check_controller, find_round
from training.judging.scoring import Card, Learned
from training.judging.validation import evaluate_policy, spread_temperatures
from wm_envs.errors import BrokenStore, Diverged, InvalidOption
from wm_envs.files import file_lock
from wm_envs.games.registry import get_task
from wm_envs.models.controller import OBSERVATIONS, ControllerConfig
from wm_envs.models.world_model import WorldModel
from wm_envs.seeds import GAME_TRAINING
from wm_envs.worlds.bundle import load_world, read_config, read_controller, save_controller


@dataclass
class EvolveOptions(SeedOption, DreamOptions, RealGameOptions, WorldRoundOptions):
    """Train a controller with CMA-ES in the world of a round; the world keeps it under its name."""

    name: str = stage_option("controller", "name of the controller", identity=True, check=plain_name)
    env: str = stage_option("dream", "where to train: dream or real", identity=True, choices=("dream", "real"))
    generations: int = stage_option(60, "number of generations", minimum=1)
    steps: int = stage_option(0, "step budget in dreams; replaces --generations (0: none)", minimum=0)
    population: int = stage_option(64, "candidates per generation", identity=True, minimum=2)
    rollouts: int = stage_option(16, "episodes per candidate", identity=True, minimum=1)
    observation: str = stage_option("zh", "what C sees: zh, zch or z", identity=True, choices=OBSERVATIONS)
    sigma: float = stage_option(0.1, "initial standard deviation", identity=True, exclusive_minimum=0)
    decay: float = stage_option(0.01, "L2 penalty on the parameters", identity=True, minimum=0)
    observer: str = stage_option(
        "", "another world with the same V, whose M makes the features that C sees", identity=True, path=True
    )
    start: str = stage_option("", "name of a controller in the world to start from", identity=True)
    validate_every: int = stage_option(10, "generations between validations", minimum=1)

    def check(self) -> None:
        """Raises `InvalidOption` for a step budget in the real game, which does not count steps."""
        super().check()
        if self.steps and self.env == "real":
            raise InvalidOption("steps", self.steps, "0 in the real game", "give --generations, or train in the dream")


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


def main(options: EvolveOptions) -> Learned:
    """Train for `generations`, keep every validated mean, save the one that validates best."""
    check_options(options)
    folder = find_round(options)
    if options.start:
        check_controller(folder.world, options.start, "start")
    if options.env == "real" or options.validate_episodes:
        check_game(get_task(read_config(folder.world)["world"]["task"]))
    options = dataclasses.replace(options, round=folder.number)
    record = folder.evolve(options.name).options
    with file_lock(record), check_run_options(record, options):
        return _search_for(folder, options)


def _search_for(folder: RoundFolder, options: EvolveOptions) -> Learned:
    world, history_path = load_world(folder.world), folder.evolve(options.name).history
    memory = world.config.memory
    shape = world.observed_latents, memory.hidden, memory.action
    config = ControllerConfig(*shape, options.observation)  # type: ignore[arg-type]
    mean = np.zeros(config.parameters)
    if options.start:
        config, parameters = read_controller(folder.world, options.start)
        mean = parameters.numpy().astype(np.float64)
    search = Search(mean, options.sigma, options.population, options.seed)
    history = _replay(search, history_path)
    if options.steps and not all(entry.steps for entry in history):
        raise BrokenStore(
            "history", f"{history_path}, which does not say how many steps were taken",
            "the steps of every generation", "give --generations, or another --name",
        )  # fmt: skip
    best = max((entry for entry in history if entry.parameters), key=lambda entry: entry.selection, default=None)
    total, unit = (options.steps, "steps") if options.steps else (options.generations, "generations")
    with Progress(f"evolve-{options.name}", total, folder.logs, unit) as progress:
        progress.skip(_progress_of(options, history))
        while _progress_of(options, history) < total:
            generation = len(history)
            candidates = search.ask()
            scores, steps = _play(folder, options, world, config, candidates, generation)
            fitness = scores - options.decay * (candidates**2).mean(axis=1)
            search.tell(fitness)
            entry = Generation(
                scores=tuple(float(f"{score:.6g}") for score in scores),
                fitness=tuple(fitness.tolist()),
                steps=steps or None,
            )
            last = _progress_of(options, [*history, entry]) >= total
            if (generation + 1) % options.validate_every == 0 or last:
                entry = _validate(folder, options, world, config, search.mean, entry)
                if best is None or entry.selection > best.selection:
                    best = entry
            history.append(entry)
            write_result(history_path, History(generations=tuple(history)))
            progress.update(steps if options.steps else 1)
            shown = {"mean": float(scores.mean()), "best": float(scores.max())}
            progress.log(generation, shown | entry.means)
    if best is None:  # resumed with fewer generations than there are, none of them validated
        best = _validate(folder, options, world, config, search.mean, Generation(scores=(), fitness=()))
    card = Card(dream=best.dream, validation=best.validation, temperature=options.temperature)
    save_controller(folder.world, options.name, config, torch.tensor(best.parameters), to_json(card))
    return Learned(**vars(card), curve=_curve(history), generations=len(history))


def _progress_of(options: EvolveOptions, history: list[Generation]) -> int:
    """How far the search is, in steps or in generations."""
    return sum(entry.steps or 0 for entry in history) if options.steps else len(history)


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


def _play(
    folder: RoundFolder,
    options: EvolveOptions,
    world: WorldModel,
    config: ControllerConfig,
    candidates: NDArray[np.float64],
    generation: int,
) -> tuple[NDArray[np.float64], int]:
    """Mean return of every candidate, (N,), all on the same episodes, and the number of steps (0: not counted)."""
    seed = options.seed * 1_000_003 + generation
    if options.env == "real":
        policies: list[Policy] = [
            ControllerPolicy(str(i), config, tuple(map(float, c))) for i, c in enumerate(candidates)
        ]
        seeds = [GAME_TRAINING.start + seed * options.rollouts + r for r in range(options.rollouts)]
        returns = real_returns(folder.world, policies, seeds, Workers(options.workers, options.ray))
        return np.array([returns[str(i)].mean() for i in range(len(candidates))]), 0
    dreams = dream_episodes(
        world, Population(config, candidates, options.rollouts), options.rollouts,
        spread_temperatures(options.temperature, options.temperature_high, options.rollouts), seed, len(candidates),
        _observer(options),
    )  # fmt: skip
    return dreams.returns.mean(axis=1, dtype=np.float64), dreams.steps


@functools.cache
def _load_observer(folder: str) -> WorldModel:
    return load_world(folder)


def _observer(options: EvolveOptions) -> WorldModel | None:
    return _load_observer(options.observer) if options.observer else None


def _validate(
    folder: RoundFolder, options: EvolveOptions, world: WorldModel, config: ControllerConfig, mean: NDArray[np.float64],
    generation: Generation,
) -> Generation:  # fmt: skip
    """The generation with the card of the distribution's mean, and its parameters."""
    policy = ControllerPolicy("mean", config, tuple(mean.astype(np.float32).tolist()))
    temperatures = spread_temperatures(options.temperature, options.temperature_high, 256)
    features_of = options.observer or folder.world
    workers = Workers(options.workers, options.ray)
    card = evaluate_policy(
        world, policy, temperatures, features_of, options.validate_episodes, workers, _observer(options)
    )
    return dataclasses.replace(generation, parameters=policy.parameters, dream=card.dream, validation=card.validation)
