"""All stages in order, from nothing to a controller that is trained only in the dream.

Every stage skips what it has done, so the same command resumes a run. Round 0 learns from random play. Each further
round adds play of the last controller, and of the best one so far, to the store and continues the training of V, M and
C from the round before. In games where random play sees too little, as in CarRacing, the controller of round 0 is
trained in the real game on the features of V and M, and its play teaches the dream.

A run with `minutes` decides the sizes of its stages by itself (see `budget`), and checks after each stage that the next
one can use what it made (see `gates`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from training.config.records import recorded
from training.data.episode_store import RolloutStore
from training.infra.packages import check_game
from training.infra.records import from_json, to_json
from training.infra.run_folder import RoundFolder
from training.infra.worlds import keep_best
from training.judging.baselines import Baselines, measure_baselines
from training.judging.calibration import calibrate_end
from training.judging.memory_metrics import MemoryMetrics
from training.judging.scoring import Evaluation, Score
from training.judging.vision_metrics import VisionMetrics
from training.judging.world_card import read_cards
from training.pipeline import gates
from training.pipeline.budget import Budget
from training.pipeline.config import Run
from training.pipeline.journal import Journal
from training.pipeline.plan import Plan, RoundPlan
from training.reporting.summary import commands, score_sentence
from training.stages import collect, evaluate, evolve, fidelity, memory, ppo, report, vision
from wm_envs.errors import Unsound
from wm_envs.files import JsonObject
from wm_envs.worlds.bundle import read_config

Command = Run


def main(run: Run) -> JsonObject:
    """Do what is not done yet; returns the metrics of every stage."""
    plan = Plan(run)
    check_game(plan.task)
    with recorded(plan.folder.options, run):
        return Execution(plan).run()


def describe(results: JsonObject) -> str:
    """The results in words, and the commands that go on from there."""
    world, further = results["world"], ", then in the real game" if "tuned" in results else ""
    lines = [
        *(["", results["verdict"]] if results.get("verdict") else []),
        "", score_sentence(from_json(Evaluation, results["evaluate"], "results.json")),
        f"It learned in the dream of round {results['best round']}{further}. That world is {world}.",
        f"The report is {results['report']}.", "",
        *(f"To {what}:\n    {command}" for what, command in commands(Path(world)).items()),
    ]  # fmt: skip
    return "\n".join(lines)


class Execution:
    """One run: what is planned, what is done, and, with `minutes`, how they are spent."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.folder, self.steps = plan, plan.folder, plan.steps()
        self.journal = Journal(plan.folder, self.steps)
        self.budget = Budget(plan, self.journal.seconds) if plan.run.minutes != "none" else None
        self.baselines: Baselines | None = None

    def run(self) -> JsonObject:
        """All rounds, then the evaluation of the best."""
        plan, folder = self.plan, self.folder
        first = 1 if plan.run.explore_steps else 0  # the explorer is not trained in a dream
        best = first
        for planned in plan.rounds:
            number = planned.number
            if number > first and not self.affords(number):
                print(f"no time is left for round {number}", flush=True)
                break
            self.round(planned, _players(plan.run, number) if number else ())
            if number >= first:
                best = max(range(first, number + 1), key=lambda each: (_score(folder.round(each)), each))
                keep_best(folder.round(best).world, "controller", folder.best)
        name = plan.evaluate.controller
        if plan.tuned:
            in_place = folder.round(best)
            self.do("tuned", "ppo", lambda tuned: ppo.main(tuned.replace(round=best)), lambda _: _has(in_place, name))
            keep_best(in_place.world, name, folder.best)
        scores = self.do("final", "evaluate", evaluate.main, lambda _: folder.best.exists())
        end = {"best round": best, "world": str(folder.best), "evaluate": scores} | self.judge(scores)
        written = self.report()
        rounds = {where: results for where, results in self.journal.results.items() if where != "final"}
        return rounds | end | written

    def do(self, where: str, name: str, work: Callable[[Any], Any], there: Callable[[Any], bool]) -> Any:
        """The result of a stage. `work` and `there` get its command, with the sizes that fit into its time."""
        at = next(at for at, step in enumerate(self.steps) if (step.where, step.name) == (where, name))
        step = self.budget.sized(self.steps[at:]) if self.budget else self.steps[at]
        return self.journal.do(step, lambda: work(step.command), lambda: there(step.command))

    def affords(self, number: int) -> bool:
        """Whether there is time for a round."""
        return self.budget is None or self.budget.affords(self.folder.round(number).name)

    def report(self) -> Any:
        """The report of the run."""
        return self.do("final", "report", report.main, lambda _: self.folder.report.exists())

    def round(self, planned: RoundPlan, players: tuple[str, ...]) -> None:
        """One round: collect, vision, memory, ppo or evolve, fidelity."""
        number, folder = planned.number, self.folder.round(planned.number)

        def record(command: collect.Command) -> collect.Collected:
            collected = collect.main(command.replace(controllers=players))
            return dataclasses.replace(collected, recorded=None)  # so that a resumed run has the same results

        def model(command: memory.Command) -> JsonObject:
            metrics: JsonObject = to_json(memory.main(command))
            if self.plan.run.calibrate and planned.fidelity:
                metrics |= to_json(calibrate_end(folder.world, temperature=1.0, workers=self.plan.run.pool))
            return metrics

        def all_parts(command: collect.Command) -> bool:
            return not collect.missing_parts(self.folder, number, command.config)

        self.do(folder.name, "collect", record, all_parts)
        self.check_play(number)
        if planned.vision:
            seen = self.do(folder.name, "vision", vision.main, lambda _: folder.vision.exists())
            self.check_vision(number, seen)
        found = self.do(folder.name, "memory", model, lambda _: folder.has_world)
        self.check_memory(number, found)
        learner = planned.learner
        name, stage = ("ppo", ppo.main) if isinstance(learner, ppo.Command) else ("evolve", evolve.main)
        learned = self.do(folder.name, name, stage, lambda _: _has(folder, learner.name))
        self.check_controller(number, learned)
        if planned.fidelity:
            self.do(folder.name, "fidelity", fidelity.main, lambda _: folder.has_world)

    # --- gates: only for a run that spends minutes ---------------------------------------------------

    def check_play(self, number: int) -> None:
        """End the run if nothing that was played shows what is good or bad."""
        if self.budget and number == 0 and (problem := gates.play(RolloutStore(self.folder.rollouts).parts)):
            self.end(problem, "reward what leads to the goal, give more --minutes, or --explore-steps 200000 --curious")

    def check_vision(self, number: int, seen: JsonObject) -> None:
        """Train V once more, with more weight on what moves, if it misses that; end the run if it still does."""
        config, folder = self.plan.run.vision, self.folder.round(number)
        if not self.budget or number > 0 or not isinstance(config, vision.PixelVision):
            return
        problem = gates.vision(from_json(VisionMetrics, seen, "results.json"))
        if problem and not self.budget.is_again(folder.name, "vision"):
            self.budget.say(folder.name, "vision", f"{problem}: it is trained again, with more weight on that")
            for path in (folder.vision, folder.vision_options):
                path.unlink(missing_ok=True)
            self.budget.again(folder.name, "vision", {"motion": max(20.0, 4 * config.motion), "focus": 20.0})
            seen = self.do(folder.name, "vision", vision.main, lambda _: folder.vision.exists())
            problem = gates.vision(from_json(VisionMetrics, seen, "results.json"))
        if problem:
            fix = "look at its pictures, give more --minutes, or --crop what does not matter"
            self.end(problem, fix)

    def check_memory(self, number: int, found: JsonObject) -> None:
        """Say what M cannot predict; end the run if more play did not help."""
        if not self.budget:
            return
        names = [field.name for field in dataclasses.fields(MemoryMetrics)]
        metrics = {name: value for name, value in found.items() if name in names}
        problem = gates.memory(from_json(MemoryMetrics, metrics, "results.json"))
        if problem and (number == self.plan.run.rounds or not self.affords(number + 1)):
            self.end(problem, "give more --minutes, or another --memory.frame-skip")
        if problem:
            self.budget.say(self.folder.round(number).name, "memory", f"{problem}; the next round has more play")

    def check_controller(self, number: int, learned: JsonObject) -> None:
        """Say whether C is better than policies that look at nothing."""
        if not self.budget or "validation" not in learned:
            return
        if self.baselines is None:
            seconds = min(60.0, 0.03 * self.budget.seconds)
            world, pool = self.folder.round(number).world, self.plan.run.pool
            self.baselines = measure_baselines(world, 24, pool, self.folder.fidelity_cache, seconds)
        problem = gates.controller(from_json(Score, learned["validation"], "results.json"), self.baselines)
        best = self.baselines.best
        better = f"the controller is better in the game than {best.policy} ({best.score.mean:.4g})"
        self.budget.say(self.folder.round(number).name, self.plan.run.learner, problem or better)

    def judge(self, scores: JsonObject) -> JsonObject:
        """Whether the run has made what it was for, in one sentence."""
        if self.budget is None or self.baselines is None:
            return {}
        score, best = from_json(Evaluation, scores, "results.json"), self.baselines.best
        problem = gates.controller(score, self.baselines)
        better = (
            f"The controller has {score.mean:.4g} in the game, the best policy that looks at nothing "
            f"({best.policy}) {best.score.mean:.4g}."
        )
        self.budget.judge(f"The run has not learned the game: {problem}." if problem else better)
        return {"verdict": self.budget.choices.verdict}

    def end(self, problem: str, fix: str) -> NoReturn:
        """End the run: raises `Unsound`, after the report is written."""
        assert self.budget is not None, "only a run with minutes has gates"
        self.budget.judge(f"The run ended early: {problem}.")
        self.report()
        raise Unsound("run", f"{problem}; {self.folder.path} has what was made", "what the next stage needs", fix)


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
