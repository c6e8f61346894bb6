"""Stage 4, evolve: CMA-ES breeds linear controllers, a whole generation in one batch of dreams.

The run is resumed by replaying its history: every generation's scores are on disk, and CMA-ES draws
from a generator of ours, so asking and telling again gives the same distribution to the bit.
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.evaluation.policies import ControllerPolicy, population_actor
from training.evaluation.rollout import dream_episodes, real_returns
from training.evaluation.validation import evaluate_policy, selection_key, spread_temperatures
from training.infra.options import (
    check_run_options,
    check_temperatures,
    count,
    not_negative,
    plain_name,
    positive,
    read_record,
    stage_option,
)
from training.infra.pool import Workers
from training.infra.progress import Progress
from wm_envs.envs.spaces import one_of
from wm_envs.errors import BrokenStore, Diverged, InvalidOption
from wm_envs.files import file_lock, write_json
from wm_envs.models.bundle import load_controller, load_world, save_controller
from wm_envs.models.controller import OBSERVATIONS, ControllerConfig
from wm_envs.models.world_model import WorldModel

with warnings.catch_warnings():  # that it has no matplotlib, which only its own plots need
    warnings.simplefilter("ignore", UserWarning)
    import cma


@dataclass
class EvolveOptions:
    """Breed a controller in RUN/world; the result joins the bundle's controllers under its name."""

    run: Path = stage_option("runs/takecover", "run folder")
    name: str = stage_option("controller", "name of the controller, and of RUN/evolve/NAME", True)
    env: str = stage_option("dream", "where to breed: dream or real", True)
    generations: int = stage_option(60, "generations in all")
    steps: int = stage_option(0, "breed until the dreams have taken so many steps instead (0: as many as they take)")
    population: int = stage_option(64, "candidates a generation", True)
    rollouts: int = stage_option(16, "episodes each", True)
    temperature: float = stage_option(1.1, "of the dreams, or the lowest of them", True)
    temperature_high: float = stage_option(0.0, "highest temperature, spread over the rollouts (0: all the same)", True)
    observation: str = stage_option("zh", "what C sees: zh, zch or z", True)
    sigma: float = stage_option(0.1, "initial standard deviation", True)
    decay: float = stage_option(0.01, "L2 penalty on the parameters", True)
    observer: str = stage_option("", "another world with the same V whose M makes the features C sees", True, path=True)
    start: str = stage_option("", "name of a controller in the world to start from", True)
    validate_every: int = stage_option(10, "generations between validations of the mean in the real game")
    validate_episodes: int = stage_option(48, "real episodes in one validation (0: dreams only)")
    workers: int = stage_option(0, "processes for the real game (0: one a core)")
    ray: str = stage_option("", "do it on a Ray cluster instead: its address, auto, or local to start one here")
    seed: int = stage_option(0, "of the search and of the dreams", True)


class Search:
    """CMA-ES that maximises, owns its random numbers and can be replayed."""

    def __init__(self, mean: NDArray[np.float64], sigma: float, population: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        options = {
            "popsize": population, "seed": math.nan, "randn": lambda *shape: self.rng.standard_normal(shape),
            "verbose": -9, "verb_log": 0, "signals_filename": None, "maxiter": math.inf,
        }  # fmt: skip
        with warnings.catch_warnings():  # it warns about the name of the signals file it is told not to use
            warnings.simplefilter("ignore", UserWarning)
            self.strategy = cma.CMAEvolutionStrategy(mean, sigma, options)
        self.candidates: list[NDArray[np.float64]] = []

    def ask(self) -> NDArray[np.float64]:
        """The next candidates, (N, P)."""
        self.candidates = self.strategy.ask()
        return np.stack(self.candidates)

    def tell(self, fitness: NDArray[np.float64]) -> None:
        """Fitness (N,) of the candidates asked for; higher is better. Refuses what is not finite."""
        if not np.isfinite(fitness).all():
            raise Diverged(
                "fitness", "not finite", "finite scores", "check the world with `python -m training fidelity`"
            )
        self.strategy.tell(self.candidates, list(-fitness))

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of the distribution, (P,)."""
        return np.asarray(self.strategy.mean)


def main(options: EvolveOptions) -> dict[str, Any]:
    """Breed to `generations`, keep every validated mean, save the one that validates best."""
    for name in ("generations", "population", "rollouts", "validate_every"):
        count(name, getattr(options, name), 2 if name == "population" else 1)
    count("validate_episodes", options.validate_episodes, 0)
    if count("steps", options.steps, 0) and options.env == "real":
        raise InvalidOption("steps", options.steps, "0 in the real game", "give --generations, or breed in the dream")
    check_temperatures(options.temperature, options.temperature_high)
    positive("sigma", options.sigma)
    one_of("observation", options.observation, OBSERVATIONS)
    one_of("env", options.env, ("dream", "real"))
    not_negative("decay", options.decay)
    count("seed", options.seed, 0)
    count("workers", options.workers, 0)
    plain_name("name", options.name)
    run = Path(options.run)
    folder = run / "evolve" / options.name
    with file_lock(folder / "options.json"), check_run_options(folder / "options.json", options):
        return _search_for(run, folder, options)


def _search_for(run: Path, folder: Path, options: EvolveOptions) -> dict[str, Any]:
    world = load_world(run / "world")
    memory = world.config.memory
    config = ControllerConfig(memory.latent, memory.hidden, memory.action, options.observation)
    mean = np.zeros(config.parameters)
    if options.start:
        config, parameters = load_controller(run / "world", options.start)
        mean = parameters.numpy().astype(np.float64)
    search = Search(mean, options.sigma, options.population, options.seed)
    history = _replay(search, folder / "history.json")
    if options.steps and not all(type(entry.get("steps")) is int and entry["steps"] > 0 for entry in history):
        raise BrokenStore(
            "history", f"{folder / 'history.json'}, which does not say how many steps were taken",
            "the steps of every generation", "give --generations, or another --name",
        )  # fmt: skip
    best = max((entry for entry in history if "parameters" in entry), key=selection_key, default=None)
    total, unit = (options.steps, "steps") if options.steps else (options.generations, "generations")
    with Progress(f"evolve-{options.name}", total, run, unit) as progress:
        progress.skip(_progress_of(options, history))
        while _progress_of(options, history) < total:
            generation = len(history)
            candidates = search.ask()
            scores, steps = _play(options, world, config, candidates, generation)
            fitness = scores - options.decay * (candidates**2).mean(axis=1)
            search.tell(fitness)
            entry: dict[str, Any] = {"scores": [float(f"{score:.6g}") for score in scores], "fitness": fitness.tolist()}
            entry |= {"steps": steps} if options.env == "dream" else {}
            last = _progress_of(options, [*history, entry]) >= total
            if (generation + 1) % options.validate_every == 0 or last:
                entry |= _validate(options, world, config, search.mean)
                if best is None or selection_key(entry) > selection_key(best):
                    best = entry
            history.append(entry)
            write_json(folder / "history.json", {"generations": history})
            progress.update(steps if options.steps else 1)
            shown = {"mean": float(scores.mean()), "best": float(scores.max())}
            progress.log(generation, shown | {k: entry[k]["mean"] for k in ("dream", "validation") if k in entry})
    if best is None:  # resumed to fewer generations than were bred, none of them validated
        best = _validate(options, world, config, search.mean)
    card = {key: best[key] for key in ("dream", "validation") if key in best} | {"temperature": options.temperature}
    save_controller(run / "world", options.name, config, torch.tensor(best["parameters"]), card)
    return {"generations": len(history), **card, "curve": _curve(history)}


def _progress_of(options: EvolveOptions, history: list[dict[str, Any]]) -> int:
    """How far the search is, in the unit it is measured in."""
    return sum(entry["steps"] for entry in history) if options.steps else len(history)


def _curve(history: list[dict[str, Any]]) -> list[list[float]]:
    """The learning curve in dreams: their steps until each validation, and its mean in the real game."""
    steps = np.cumsum([entry.get("steps", 0) for entry in history]).tolist()
    return [
        [at, entry["validation"]["mean"]] for at, entry in zip(steps, history, strict=True) if "validation" in entry
    ]


def _replay(search: Search, path: Path) -> list[dict[str, Any]]:
    """Ask and tell again what is on disk."""
    if not path.exists():
        return []
    try:
        history = list(read_record(path)["generations"])
        for entry in history:
            search.ask()
            search.tell(np.array(entry["fitness"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenStore(
            "history", f"{path} ({error})", "the scores of every generation", "remove it to start again"
        ) from error
    return history


def _play(
    options: EvolveOptions,
    world: WorldModel,
    config: ControllerConfig,
    candidates: NDArray[np.float64],
    generation: int,
) -> tuple[NDArray[np.float64], int]:
    """Mean return of every candidate, (N,), all on the same episodes, and the steps of these (0: not counted)."""
    seed = options.seed * 1_000_003 + generation
    if options.env == "real":
        policies = [ControllerPolicy(str(i), config, tuple(map(float, c))) for i, c in enumerate(candidates)]
        seeds = [10_000_000 + seed * options.rollouts + r for r in range(options.rollouts)]
        returns = real_returns(Path(options.run) / "world", policies, seeds, Workers(options.workers, options.ray))  # type: ignore[arg-type]
        return np.array([returns[str(i)].mean() for i in range(len(candidates))]), 0
    dreams = dream_episodes(
        world, population_actor(config, candidates, options.rollouts), config.observation,
        len(candidates), options.rollouts,
        spread_temperatures(options.temperature, options.temperature_high, options.rollouts), seed, _observer(options),
    )  # fmt: skip
    return dreams.returns.mean(axis=1, dtype=np.float64), dreams.steps


@functools.cache
def _load_observer(folder: str) -> WorldModel:
    return load_world(folder)


def _observer(options: EvolveOptions) -> WorldModel | None:
    return _load_observer(options.observer) if options.observer else None


def _validate(
    options: EvolveOptions, world: WorldModel, config: ControllerConfig, mean: NDArray[np.float64]
) -> dict[str, Any]:
    """The card of the distribution's mean, and its parameters."""
    policy = ControllerPolicy("mean", config, tuple(mean.astype(np.float32).tolist()))
    temperatures = spread_temperatures(options.temperature, options.temperature_high, 256)
    features_of = options.observer or Path(options.run) / "world"
    workers = Workers(options.workers, options.ray)
    card = evaluate_policy(
        world, policy, temperatures, features_of, options.validate_episodes, workers, _observer(options)
    )
    return {"parameters": list(policy.parameters)} | card
