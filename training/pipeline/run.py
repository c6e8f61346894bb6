"""All stages in order, from nothing to a controller that is trained only in the dream.

Every stage skips what it has done, so the same command resumes a run. Round 0 learns from random play. Each further
round adds play of the last controller, and of the best one so far, to the store and continues the training of V, M and
C from the round before. In games where random play sees too little, as in CarRacing, the controller of round 0 is
trained in the real game on the features of V and M, and its play teaches the dream.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from training.config.records import recorded
from training.infra.packages import check_game
from training.infra.records import from_json, to_json
from training.infra.run_folder import RoundFolder
from training.infra.worlds import keep_best
from training.judging.calibration import calibrate_end
from training.judging.scoring import Evaluation
from training.judging.world_card import read_cards
from training.pipeline.config import Run
from training.pipeline.journal import Journal
from training.pipeline.plan import Plan, RoundPlan
from training.reporting.summary import commands, score_sentence
from training.stages import collect, evaluate, evolve, fidelity, memory, ppo, report, vision
from wm_envs.files import JsonObject
from wm_envs.worlds.bundle import read_config

Command = Run


def main(run: Run) -> JsonObject:
    """Do what is not done yet; returns the metrics of every stage."""
    plan = Plan(run)
    check_game(plan.task)
    with recorded(plan.folder.options, run):
        return _run(plan)


def describe(results: JsonObject) -> str:
    """The results in words, and the commands that go on from there."""
    world, further = results["world"], ", then in the real game" if "tuned" in results else ""
    lines = [
        "", score_sentence(from_json(Evaluation, results["evaluate"], "results.json")),
        f"It learned in the dream of round {results['best round']}{further}. That world is {world}.",
        f"The report is {results['report']}.", "",
        *(f"To {what}:\n    {command}" for what, command in commands(Path(world)).items()),
    ]  # fmt: skip
    return "\n".join(lines)


def _run(plan: Plan) -> JsonObject:
    """All rounds, then the evaluation of the best."""
    journal, folder = Journal(plan.folder, plan.steps()), plan.folder
    first = 1 if plan.run.explore_steps else 0  # the explorer is not trained in a dream
    best = first
    for planned in plan.rounds:
        number = planned.number
        _run_round(journal, plan, planned, _players(plan.run, number) if number else ())
        if number >= first:
            best = max(range(first, number + 1), key=lambda each: _score(folder.round(each)))
            keep_best(folder.round(best).world, "controller", folder.best)
    steps = {(step.where, step.name): step for step in journal.steps}
    name = plan.evaluate.controller
    if plan.tuned:
        tuned = plan.tuned.replace(round=best)
        journal.do(steps["tuned", "ppo"], lambda: ppo.main(tuned), lambda: _has(folder.round(best), name))
        keep_best(folder.round(best).world, name, folder.best)
    scores = journal.do(steps["final", "evaluate"], lambda: evaluate.main(plan.evaluate), folder.best.exists)
    end = {"best round": best, "world": str(folder.best), "evaluate": scores}
    written = journal.do(steps["final", "report"], lambda: report.main(plan.report), folder.report.exists)
    rounds = {where: results for where, results in journal.results.items() if where != "final"}
    return rounds | end | written


def _run_round(journal: Journal, plan: Plan, planned: RoundPlan, players: tuple[str, ...]) -> None:
    """One round: collect, vision, memory, ppo or evolve, fidelity."""
    folder = plan.folder.round(planned.number)
    steps = {step.name: step for step in planned.steps()}

    def record() -> collect.Collected:
        collected = collect.main(planned.collect.replace(controllers=players))
        return dataclasses.replace(collected, recorded=None)  # so that a resumed run has the same results

    def model() -> JsonObject:
        metrics: JsonObject = to_json(memory.main(planned.memory))
        if plan.run.calibrate and planned.fidelity:
            metrics |= to_json(calibrate_end(folder.world, temperature=1.0, workers=plan.run.pool))
        return metrics

    all_parts = lambda: not collect.missing_parts(plan.folder, planned.number, planned.collect.config)  # noqa: E731
    journal.do(steps["collect"], record, all_parts)
    if trained := planned.vision:
        journal.do(steps["vision"], lambda: vision.main(trained), folder.vision.exists)
    journal.do(steps["memory"], model, lambda: folder.has_world)
    if isinstance(learner := planned.learner, ppo.Command):
        journal.do(steps["ppo"], lambda: ppo.main(learner), lambda: _has(folder, learner.name))
    else:
        journal.do(steps["evolve"], lambda: evolve.main(learner), lambda: _has(folder, learner.name))
    if compared := planned.fidelity:
        journal.do(steps["fidelity"], lambda: fidelity.main(compared), lambda: folder.has_world)


def _has(folder: RoundFolder, name: str) -> bool:
    """Whether the world of a round has a controller."""
    return folder.has_world and name in read_config(folder.world)["controllers"]


def _score(folder: RoundFolder, name: str = "controller") -> float:
    return read_cards(folder.world)[name].selection_score


def _players(config: Run, number: int) -> tuple[str, ...]:
    """The controllers that play for round `number`: the last one, from whose play its dream learns what the controller
    does, and the best one so far if it is another (a controller that exploits its dream sees little of the game)."""
    run = config.run_folder
    names = ["explorer" if each == 0 and config.explore_steps else "controller" for each in range(number)]
    last = number - 1
    best = max(range(number), key=lambda each: (_score(run.round(each), names[each]), each))
    chosen = [last, best] if config.validate_episodes and best != last else [last]
    return tuple(f"{run.round(each).world}:{names[each]}" for each in chosen)
