"""All stages in order, from nothing to a controller that learnt wholly in the dream.

Every stage knows what it has done, so running this again goes on where it stopped. Round 0 learns
from random play; each further round adds play of C of the round before, and of the best so far, to the store and goes
on training V, M and C from those of the round before. Where random play sees too little of a game to dream
of it, as in CarRacing, C of round 0 learns in the real game on what V and M see, and its play teaches the dream.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluation.validation import selection_score
from training.infra.options import (
    check_run_options,
    check_temperatures,
    count,
    game_settings,
    not_negative,
    stage_option,
)
from training.stages import collect, evaluate, evolve, fidelity, memory, ppo, report, vision
from wm_envs.envs.spaces import game_kwargs, one_of
from wm_envs.errors import InvalidOption
from wm_envs.files import file_lock, write_json
from wm_envs.games.registry import get_task
from wm_envs.models.bundle import read_config

SIZES = ("frames", "own_frames", "vision_batches", "memory_steps", "frame_skip", "ppo_steps", "generations",
         "population", "rollouts", "episodes")  # fmt: skip


@dataclass
class RunOptions:
    """Collect, train V, train M, let C learn in the dream, evaluate it in the real game."""

    run: Path = stage_option("runs/takecover", "run folder")
    task: str = stage_option("takecover", "which game")
    rounds: int = stage_option(1, "rounds of own play after the first")
    vision_rounds: int = stage_option(
        1, "of these, how many V learns in, too; then it stays, and with it M's latents", True
    )
    frames: int = stage_option(2_000_000, "frames of random play", True)
    own_frames: int = stage_option(800_000, "frames of own play a round", True)
    vision_batches: int = stage_option(6_000, "batches for V in round 0; a third of it in the others", True)
    memory_steps: int = stage_option(
        20_000_000, "steps for M in its first round that counts; two thirds of it in later ones", True
    )
    frame_skip: int = stage_option(4, "ticks in a step (the paper: 1)", True)
    explore_steps: int = stage_option(0, "steps of PPO in the real game in round 0, to play for round 1", True)
    learner: str = stage_option("ppo", "how C learns in the dream: ppo, or evolve (CMA-ES, as in the paper)", True)
    ppo_steps: int = stage_option(8_000_000, "steps of dreams for PPO a round", True)
    hidden_sizes: tuple[int, ...] = stage_option((64,), "tanh units of C's hidden layers with PPO (none: linear)", True)
    generations: int = stage_option(60, "generations of CMA-ES a round", True)
    population: int = stage_option(64, "candidates a generation", True)
    rollouts: int = stage_option(16, "dreams each", True)
    temperature: float = stage_option(1.1, "of the dreams to learn in, or the lowest of them", True)
    temperature_high: float = stage_option(1.6, "the highest, spread over the rollouts (0: all the same)", True)
    latent_dropout: float = stage_option(0.5, "share of steps that M learns blindfolded (the paper: 0)", True)
    real_steps: int = stage_option(0, "steps of PPO in the real game at the end, from what the best dream taught", True)
    real_settings: tuple[str, ...] = stage_option((), "of the game meanwhile (CarRacing: off_road_cost=2)", True)
    validate_episodes: int = stage_option(48, "real episodes in a validation", True)
    episodes: int = stage_option(100, "real episodes of the final evaluation on test seeds")
    workers: int = stage_option(0, "processes (0: one a core)")
    ray: str = stage_option("", "do it on a Ray cluster instead: its address, auto, or local to start one here")
    renderer: str = stage_option("", "how the game draws itself at last (default: as scores are measured)")
    seed: int = stage_option(0, "of everything", True)


def main(options: RunOptions) -> dict[str, Any]:
    """Run what is not done yet; returns the metrics of every stage."""
    for name in SIZES:  # all of them now: the last stage begins hours after the first
        count(name, getattr(options, name), 2 if name == "population" else 1)
    for name in ("rounds", "vision_rounds", "explore_steps", "real_steps", "validate_episodes", "workers", "seed"):
        count(name, getattr(options, name), 0)
    check_temperatures(options.temperature, options.temperature_high)
    if not_negative("latent_dropout", options.latent_dropout) >= 1:
        raise InvalidOption(
            "latent_dropout", options.latent_dropout, "a share from 0 to below 1", "give --latent-dropout 0.2, say"
        )
    for width in options.hidden_sizes:
        count("hidden_sizes", width)
    if options.explore_steps and not options.rounds:
        raise InvalidOption("explore_steps", options.explore_steps, "0 without a round 1", "give --rounds 1, or more")
    if options.explore_steps:
        count("validate_episodes", options.validate_episodes)  # the dreams of round 0 can judge nobody
    game_kwargs(get_task(options.task), options.renderer or None, game_settings(options.real_settings))
    one_of("learner", options.learner, ("ppo", "evolve") if options.real_steps == 0 else ("ppo",))
    run = Path(options.run)
    with file_lock(run / "run.json"), check_run_options(run / "run.json", options):
        return _stages(run, options)


def _stages(run: Path, options: RunOptions) -> dict[str, Any]:
    """All rounds, then the evaluation of the best."""
    results: dict[str, Any] = {}
    folder = run
    for number in range(options.rounds + 1):
        before, folder = folder, round_folder(run, number)
        print(f"round {number}: {folder}", flush=True)
        results[f"round {number}"] = _round(options, number, before, folder)
        write_json(run / "results.json", results)
    dreamt = range(1 if options.explore_steps else 0, options.rounds + 1)
    best = max(dreamt, key=lambda number: _validated(round_folder(run, number)))
    final = round_folder(run, best) / "world"
    if options.real_steps:
        results["tuned"] = {"ppo": _learn_in_the_game(
            options, round_folder(run, best), "tuned", start="controller", total_timesteps=options.real_steps,
            settings=tuple(options.real_settings), learning_rate=3e-4, gamma=0.99,
        )}  # fmt: skip
    scores = evaluate.main(
        evaluate.EvaluateOptions(
            world=str(final),
            controller="tuned" if options.real_steps else "controller",
            episodes=options.episodes,
            workers=options.workers,
            ray=options.ray,
            renderer=options.renderer,
            scores=str(run / "scores.json"),
        )
    )
    results |= {"best round": best, "world": str(final), "evaluate": scores}
    write_json(run / "results.json", results)
    return results | report.main(report.ReportOptions(run))


def round_folder(run: Path, number: int) -> Path:
    """Where a round's models are; the rollouts of all rounds are in RUN/rollouts."""
    return run if number == 0 else run / f"round-{number}"


def _latest_vision(run: Path, number: int) -> Path:
    """The folder of the V that sees in round `number`."""
    folders = (round_folder(run, each) for each in range(number, -1, -1))
    return next(folder for folder in folders if (folder / "vision.safetensors").exists())


def _validated(folder: Path, name: str = "controller") -> float:
    return selection_score(read_config(folder / "world")["controllers"][name]["card"])


def _players(options: RunOptions, number: int) -> tuple[str, ...]:
    """Who play for round `number`: C of the round before, whose dream has to learn what comes of what it does, and who
    did best in the game so far, if that is somebody else (a C that its dream deceived shows little of the game)."""
    names = ["explorer" if each == 0 and options.explore_steps else "controller" for each in range(number)]
    last = number - 1
    best = max(range(number), key=lambda each: (_validated(round_folder(options.run, each), names[each]), each))
    chosen = [last, best] if options.validate_episodes and best != last else [last]
    return tuple(f"{round_folder(options.run, each) / 'world'}:{names[each]}" for each in chosen)


def _round(options: RunOptions, number: int, before: Path, folder: Path) -> dict[str, Any]:
    """One round: collect, vision, memory, ppo or evolve, fidelity."""
    own = number > 0
    shared = {"task": options.task, "seed": options.seed}
    where = {"workers": options.workers, "ray": options.ray}
    store = str(Path(options.run) / "rollouts")
    done: dict[str, Any] = {}
    done["collect"] = collect.main(collect.CollectOptions(
        run=options.run, frames=options.own_frames if own else options.frames, round=number,
        controllers=_players(options, number) if own else (), **where, **shared))  # fmt: skip
    del done["collect"]["recorded"]  # this time: a run that was stopped has the same results in the end
    if number <= options.vision_rounds or (folder / "vision.safetensors").exists():  # it has, before there was a choice
        done["vision"] = vision.main(vision.VisionOptions(
            run=folder, store=store, rounds=number + 1, batches=max(1, options.vision_batches // (3 if own else 1)),
            learning_rate=vision.VisionOptions.learning_rate / (3 if own else 1),
            start=str(before / "vision.safetensors") if own else "", **shared))  # fmt: skip
    done["memory"] = memory.main(memory.MemoryOptions(
        run=folder, store=store, rounds=number + 1, vision=str(_latest_vision(Path(options.run), number)),
        latent_dropout=options.latent_dropout, frame_skip=options.frame_skip,
        **_lesson(options, number, before), **shared))  # fmt: skip
    if number == 0 and options.explore_steps:
        return done | {"ppo": _learn_in_the_game(options, folder, "explorer", total_timesteps=options.explore_steps)}
    done[options.learner] = _learn(options, folder, where)
    done["fidelity"] = fidelity.main(fidelity.FidelityOptions(
        world=str(folder / "world"), controllers="controller", episodes=max(2, options.validate_episodes), **where,
        temperature=(options.temperature + (options.temperature_high or options.temperature)) / 2,
        cache=str(Path(options.run) / "fidelity_cache.json")))  # fmt: skip
    return done


def _lesson(options: RunOptions, number: int, before: Path) -> dict[str, Any]:
    """What M learns in round `number`: how many steps, at which rate, from what.

    Where random play saw too little to dream of, M of round 0 has only to be something to look through. In round 1 it
    begins anew, on play that shows what actions do: one that has learnt to do without them hardly takes them up again.
    """
    rate, steps = memory.MemoryOptions.learning_rate, options.memory_steps
    exploring = options.explore_steps > 0
    if number <= exploring:
        return {"steps": max(1, steps // 3 if exploring and number == 0 else steps), "learning_rate": rate}
    rate *= 2 / 3 if exploring else 1 / 2  # with an explorer there is more left to learn
    return {"steps": max(1, steps * 2 // 3), "learning_rate": rate, "start": str(before / "memory.safetensors")}


def _learn(options: RunOptions, folder: Path, where: dict[str, Any]) -> dict[str, Any]:
    """C, by PPO or by CMA-ES, in the dream of `folder`."""
    shared: dict[str, Any] = {
        "run": folder, "name": "controller", "temperature": options.temperature, "seed": options.seed,
        "temperature_high": options.temperature_high, "validate_episodes": options.validate_episodes, **where,
    }  # fmt: skip
    if options.learner == "ppo":
        return ppo.main(
            ppo.PpoOptions(total_timesteps=options.ppo_steps, hidden_sizes=tuple(options.hidden_sizes), **shared)
        )
    sizes = {name: getattr(options, name) for name in ("generations", "population", "rollouts")}
    return evolve.main(evolve.EvolveOptions(**sizes, **shared))


def _learn_in_the_game(options: RunOptions, folder: Path, name: str, **how: Any) -> dict[str, Any]:
    """A controller of `folder` that learns, or goes on learning, in the real game seen through V and M."""
    shared: dict[str, Any] = {key: getattr(options, key) for key in (
        "validate_episodes", "workers", "ray", "seed", "temperature", "temperature_high",
    )}  # fmt: skip
    given = {"hidden_sizes": tuple(options.hidden_sizes), "validate_every": 48} | ppo.IN_THE_GAME | shared | how
    return ppo.main(ppo.PpoOptions(run=folder, name=name, **given))
