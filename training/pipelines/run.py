"""All stages in order, from nothing to a controller that is trained only in the dream.

Every stage skips what it has done, so the same command resumes a run. Round 0 learns from random play. Each further
round adds play of the last controller, and of the best one so far, to the store and continues the training of V, M and
C from the round before. In games where random play sees too little, as in CarRacing, the controller of round 0 is
trained in the real game on the features of V and M, and its play teaches the dream.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from training.infra.options import check_run_options
from training.infra.packages import check_game
from training.infra.records import from_json
from training.infra.run_folder import RoundFolder, RunFolder
from training.infra.worlds import keep_best
from training.judging.scoring import Evaluation
from training.judging.world_card import read_cards
from training.pipelines.journal import Journal
from training.pipelines.plan import Plan, RoundPlan, RunOptions, RunRecord, make_plan
from training.reporting.summary import commands, score_sentence
from training.stages import collect, evaluate, evolve, fidelity, memory, ppo, report, vision
from wm_envs.files import file_lock
from wm_envs.games.registry import get_task
from wm_envs.worlds.bundle import read_config

__all__ = ["RunOptions", "describe", "main"]


def main(options: RunOptions) -> dict[str, Any]:
    """Do what is not done yet; returns the metrics of every stage."""
    options = options.described()
    plan, run = make_plan(options), RunFolder(options.run)
    check_game(get_task(options.task))
    record = RunRecord(**vars(options), plan=plan.as_json())
    with file_lock(run.options), check_run_options(run.options, record):
        return _run(run, plan, options)


def describe(results: dict[str, Any]) -> str:
    """The results in words, and the commands that go on from there."""
    world, further = results["world"], ", then in the real game" if "tuned" in results else ""
    lines = [
        "", score_sentence(from_json(Evaluation, results["evaluate"], "results.json")),
        f"It learned in the dream of round {results['best round']}{further}. That world is {world}.",
        f"The report is {results['report']}.", "",
        *(f"To {what}:\n    {command}" for what, command in commands(Path(world)).items()),
    ]  # fmt: skip
    return "\n".join(lines)


def _run(run: RunFolder, plan: Plan, options: RunOptions) -> dict[str, Any]:
    """All rounds, then the evaluation of the best."""
    journal = Journal(run, list(plan.stages()))
    first = 1 if options.explore_steps else 0  # the explorer is not trained in a dream
    best = first
    for number, planned in enumerate(plan.rounds):
        _run_round(journal, run.round(number), planned, _players(options, number) if number else ())
        if number >= first:
            best = max(range(first, number + 1), key=lambda each: _score(run.round(each)))
            keep_best(run.round(best).world, "controller", run.best)
    name = plan.evaluate.controller
    if plan.tuned:
        tuned = dataclasses.replace(plan.tuned, round=best)
        journal.stage("tuned", "ppo", lambda: ppo.main(tuned), lambda: _has(run.round(best), name))
        keep_best(run.round(best).world, name, run.best)
    final = dataclasses.replace(plan.evaluate, world=str(run.best))
    scores = journal.stage("final", "evaluate", lambda: evaluate.main(final), run.best.exists)
    end = {"best round": best, "world": str(run.best), "evaluate": scores}
    written = journal.stage("final", "report", lambda: report.main(plan.report), run.report.exists)
    rounds = {where: found for where, found in journal.results.items() if where != "final"}
    return rounds | end | written


def _run_round(journal: Journal, folder: RoundFolder, planned: RoundPlan, players: tuple[str, ...]) -> None:
    """One round: collect, vision, memory, ppo or evolve, fidelity."""
    where, name = folder.name, planned.learner.name

    def record() -> collect.Collected:
        collected = collect.main(dataclasses.replace(planned.collect, controllers=players))
        return dataclasses.replace(collected, recorded=None)  # so that a resumed run has the same results

    journal.stage(where, "collect", record, lambda: not collect.missing_parts(planned.collect))
    if planned.vision:
        lesson = planned.vision
        journal.stage(where, "vision", lambda: vision.main(lesson), folder.vision.exists)
    journal.stage(where, "memory", lambda: memory.main(planned.memory), lambda: folder.has_world)
    if isinstance(learner := planned.learner, ppo.PpoOptions):
        journal.stage(where, "ppo", lambda: ppo.main(learner), lambda: _has(folder, name))
    else:
        journal.stage(where, "evolve", lambda: evolve.main(learner), lambda: _has(folder, name))
    if planned.fidelity:
        battery = planned.fidelity
        journal.stage(where, "fidelity", lambda: fidelity.main(battery), lambda: folder.has_world)


def _has(folder: RoundFolder, name: str) -> bool:
    """Whether the world of a round has a controller."""
    return folder.has_world and name in read_config(folder.world)["controllers"]


def _score(folder: RoundFolder, name: str = "controller") -> float:
    return read_cards(folder.world)[name].selection_score


def _players(options: RunOptions, number: int) -> tuple[str, ...]:
    """The controllers that play for round `number`: the last one, from whose play its dream learns what the controller
    does, and the best one so far if it is another (a controller that exploits its dream sees little of the game)."""
    run = RunFolder(options.run)
    names = ["explorer" if each == 0 and options.explore_steps else "controller" for each in range(number)]
    last = number - 1
    best = max(range(number), key=lambda each: (_score(run.round(each), names[each]), each))
    validated = options.stage(options.learner).validate_episodes > 0
    chosen = [last, best] if validated and best != last else [last]
    return tuple(f"{run.round(each).world}:{names[each]}" for each in chosen)
