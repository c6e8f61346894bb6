"""The plan of a run: the options of all its stages, which follow from its own options and the recipe of its game."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from training.infra.option_groups import (
    ENV_FIELDS,
    DreamOptions,
    EnvOptions,
    RunOption,
    SeedOption,
    WorkerOptions,
    check_setting,
    game_settings,
)
from training.infra.options import StageKind, as_json, check_options, passed_options, stage_option
from training.infra.run_folder import RoundFolder, RunFolder
from training.pipelines.recipes import BUDGET, recipe_of
from training.stages import collect, evaluate, evolve, fidelity, memory, ppo, report, vision
from wm_envs.envs.checks import game_kwargs
from wm_envs.errors import InvalidOption
from wm_envs.games.registry import get_task

SHARED = frozenset({"run", "round", "task", "seed", "workers", "ray"})  # options that the run sets for every stage
LEARNER = SHARED | {"temperature", "temperature_high", "name", "env", "start", "curious"}
STAGES = {
    "collect": StageKind(collect.CollectOptions, SHARED | {"controllers", "world", *ENV_FIELDS}),
    "vision": StageKind(vision.VisionOptions, SHARED | {"rounds", "start"}, {"batches": 6_000}),
    "memory": StageKind(
        memory.MemoryOptions, SHARED | {"rounds", "start"}, {"steps": 20_000_000, "latent_dropout": 0.5}
    ),
    "ppo": StageKind(ppo.PpoOptions, LEARNER | {"settings"}),
    "evolve": StageKind(evolve.EvolveOptions, LEARNER | {"observer"}),
    "fidelity": StageKind(fidelity.FidelityOptions, SHARED | {"world", "controllers", "controllers_of", "cache"}),
    "evaluate": StageKind(evaluate.EvaluateOptions, SHARED | {"world", "controller", "scores"}),
}
IN_EVERY_GAME = ("hidden_sizes", "observation", "actions", "validate_episodes")  # of PPO, in dreams and in the game


@dataclass
class RunOptions(EnvOptions, DreamOptions, WorkerOptions, SeedOption, RunOption):
    """The defaults are those of the game: `--task carracing --help` shows those of CarRacing.

    --STAGE.OPTION VALUE gives an option to a stage: --vision.batches 6000 --ppo.total-timesteps 4e6, for example.
    STAGE is collect, vision, memory, ppo, evolve, fidelity or evaluate; `python -m training STAGE --help` explains it.
    """

    rounds: int = stage_option(1, "number of rounds after round 0, each with play of its own", minimum=0)
    vision_rounds: int = stage_option(
        1, "number of these rounds that train V; later rounds use the same V", identity=True, minimum=0
    )
    own_frames: int = stage_option(
        800_000, "frames of the controllers' own play per round", identity=True, minimum=1
    )  # fmt: skip
    learner: str = stage_option(
        "ppo", "how C is trained in the dream: ppo, or evolve (CMA-ES, as in the paper)", identity=True,
        choices=("ppo", "evolve"),
    )  # fmt: skip
    explore_steps: int = stage_option(
        0, "steps of PPO in the real game in round 0, for a controller that plays for round 1", identity=True, minimum=0
    )
    curious: bool = stage_option(
        False, "M's surprise is the reward of --explore-steps, not the game's", identity=True
    )  # fmt: skip
    real_steps: int = stage_option(
        0, "steps of PPO in the real game at the end, which start from the best controller", identity=True, minimum=0
    )
    real_settings: tuple[str, ...] = stage_option(
        (), "settings of the game during these steps, NAME=NUMBER", identity=True, check=check_setting
    )
    minutes: int = stage_option(
        0, f"minutes on two cores that the recipe of --env is made for (0: {BUDGET})", identity=True, minimum=0
    )
    stages: dict[str, dict[str, Any]] = passed_options("options of the stages", STAGES)

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe of the game."""
        found = super().defaults(given)
        recipe = recipe_of({**found, **given})
        return found | {name: value for name, value in recipe.items() if name != "stages"}

    @classmethod
    def from_given(cls, given: Mapping[str, Any]) -> Self:
        """The options of a command line; those for stages are added to those of the recipe."""
        recipe = recipe_of({**super().defaults(given), **given}).get("stages", {})
        stages = {name: recipe.get(name, {}) | given.get("stages", {}).get(name, {}) for name in STAGES}
        return super().from_given({**given, "stages": stages})

    def check(self) -> None:
        """Raises `InvalidOption` for values that do not fit together."""
        super().check()
        if self.explore_steps and not self.rounds:
            fix = "give --rounds 1 or more, or --explore-steps 0"
            raise InvalidOption("explore_steps", self.explore_steps, "0 without a round 1", fix)
        if self.explore_steps and not self.stage("ppo").validate_episodes:  # round 0 has no dream to evaluate in
            fix = "give --ppo.validate-episodes 1 or more, or --explore-steps 0"
            raise InvalidOption("ppo.validate_episodes", 0, "at least 1 with --explore-steps", fix)
        if self.curious and not self.explore_steps:
            raise InvalidOption("curious", True, "false without --explore-steps", "give --explore-steps 500000")
        if self.real_steps and self.learner != "ppo":
            fix = "give --learner ppo, or --real-steps 0"
            raise InvalidOption("learner", self.learner, "ppo with --real-steps", fix)

    def stage(self, name: str, /, **set_here: Any) -> Any:
        """Options of a stage: the pipeline's defaults, then what the user gave, then what the run sets."""
        kind = STAGES[name]
        fields = {field.name for field in dataclasses.fields(kind.options)}
        hidden = kind.hidden - set(ENV_FIELDS)  # `env` of a learner is something else
        shared = {field: getattr(self, field) for field in fields if hasattr(self, field) and field in hidden}
        return kind.options(**{**kind.defaults, **shared, **self.stages.get(name, {}), **set_here})


@dataclass
class RunRecord(RunOptions):
    """The options, and those of all stages that follow from them."""

    plan: dict[str, Any] = dataclasses.field(default_factory=dict)


# --- the plan -----------------------------------------------------------------------------------------


@dataclass
class RoundPlan:
    """Options of the stages of a round; results of earlier rounds add who plays in `collect`."""

    collect: collect.CollectOptions
    vision: vision.VisionOptions | None
    memory: memory.MemoryOptions
    learner: ppo.PpoOptions | evolve.EvolveOptions
    fidelity: fidelity.FidelityOptions | None

    def stages(self) -> dict[str, Any]:
        """The options by the name of their stage."""
        learner = "ppo" if isinstance(self.learner, ppo.PpoOptions) else "evolve"
        found: dict[str, Any] = {"collect": self.collect, "vision": self.vision, "memory": self.memory}
        found[learner] = self.learner
        found["fidelity"] = self.fidelity
        return {name: options for name, options in found.items() if options is not None}


@dataclass
class Plan:
    """Options of all stages; results of the rounds add the world of the last two."""

    rounds: list[RoundPlan]
    tuned: ppo.PpoOptions | None
    evaluate: evaluate.EvaluateOptions
    report: report.ReportOptions

    def stages(self) -> Iterator[tuple[str, str, Any]]:
        """Where, stage and options, in order."""
        for number, planned in enumerate(self.rounds):
            for name, options in planned.stages().items():
                yield f"round {number}", name, options
        if self.tuned:
            yield "tuned", "ppo", self.tuned
        yield "final", "evaluate", self.evaluate
        yield "final", "report", self.report

    def as_json(self) -> dict[str, dict[str, Any]]:
        """All options, as run.json holds them."""
        found: dict[str, dict[str, Any]] = {}
        for where, name, options in self.stages():
            found.setdefault(where, {})[name] = as_json(options)
        return found


def make_plan(options: RunOptions) -> Plan:
    """Options of all stages of all rounds, checked: a wrong value is refused before any work."""
    check_options(options)
    for name in STAGES:
        check_options(options.stage(name), f"{name}.")
    tuned = None
    if options.real_steps:
        tuned = _in_the_game(
            options, "tuned", total_timesteps=options.real_steps, start="controller",
            settings=tuple(options.real_settings), learning_rate=3e-4, gamma=0.99,
        )  # fmt: skip
    final = options.stage(
        "evaluate", controller="tuned" if tuned else "controller", scores=str(RunFolder(options.run).scores)
    )
    rounds = [_plan_round(options, number) for number in range(options.rounds + 1)]
    plan = Plan(rounds, tuned, final, report.ReportOptions(options.run))
    for _, name, planned in plan.stages():
        check_options(planned, f"{name}.")
    task = get_task(options.task)
    game_kwargs(task, final.renderer or None, game_settings(final.settings))
    evaluate.check_score(task, game_settings(final.settings))
    game_kwargs(task, None, game_settings(options.real_settings))
    return plan


def _plan_round(options: RunOptions, number: int) -> RoundPlan:
    """Options of one round."""
    folder, exploring = RunFolder(options.run).round(number), number == 0 and options.explore_steps > 0
    shared = {"round": number, "rounds": number + 1}
    frames = {"frames": options.own_frames} if number else {}
    return RoundPlan(
        collect=options.stage("collect", round=number, **frames),
        vision=options.stage("vision", **_vision_lesson(options, number), **shared)
        if number <= options.vision_rounds
        else None,
        memory=options.stage("memory", **_memory_lesson(options, number), **shared),
        learner=_in_the_game(options, "explorer", total_timesteps=options.explore_steps, curious=options.curious)
        if exploring
        else options.stage(options.learner, round=number, name="controller"),
        fidelity=None if exploring else _plan_fidelity(options, folder),
    )


def _vision_lesson(options: RunOptions, number: int) -> dict[str, Any]:
    """How much V learns in round `number`: after round 0 a third of the batches, at a third of the rate."""
    if number == 0:
        return {}
    given, before = options.stage("vision"), RunFolder(options.run).round(number - 1)
    return {
        "batches": max(1, given.batches // 3),
        "learning_rate": given.learning_rate / 3,
        "start": str(before.vision),
    }


def _memory_lesson(options: RunOptions, number: int) -> dict[str, Any]:
    """How much M learns in round `number`, at which rate, and from which weights.

    After exploration M of round 0 only has to provide features, so it learns a third. In round 1 it starts from new
    weights: on random play it learned to ignore actions, and it hardly unlearns that. Later rounds continue.
    """
    given, before = options.stage("memory"), RunFolder(options.run).round(number - 1)
    exploring = options.explore_steps > 0
    if number <= exploring:
        return {"steps": max(1, given.steps // 3 if exploring and number == 0 else given.steps)}
    return {
        "steps": max(1, given.steps * 2 // 3),
        "learning_rate": given.learning_rate * (2 / 3 if exploring else 1 / 2),  # an explorer leaves more to learn
        "start": str(before.memory),
    }


def _plan_fidelity(options: RunOptions, folder: RoundFolder) -> fidelity.FidelityOptions:
    """Fidelity with the round's controller; by default in the middle of the range of temperatures."""
    given = options.stages.get("fidelity", {})
    middle = (options.temperature + (options.temperature_high or options.temperature)) / 2
    defaults = {"temperature": middle, "episodes": max(2, options.stage(options.learner).validate_episodes)}
    planned: fidelity.FidelityOptions = options.stage(
        "fidelity", world=str(folder.world), controllers="controller", cache=str(folder.run.fidelity_cache),
        **{name: value for name, value in defaults.items() if name not in given},
    )  # fmt: skip
    return planned


def _in_the_game(options: RunOptions, name: str, **set_here: Any) -> ppo.PpoOptions:
    """A controller that PPO trains in the real game; of the options of --ppo, `IN_EVERY_GAME` apply to it."""
    kept = {field: getattr(options.stage("ppo"), field) for field in IN_EVERY_GAME}
    shared = {"name": name, "round": 0, "validate_every": 48}
    ranges = {field: getattr(options, field) for field in ("temperature", "temperature_high")}
    return ppo.PpoOptions(
        run=options.run, seed=options.seed, workers=options.workers, ray=options.ray,
        **{**shared, **ranges, **kept, **ppo.IN_THE_GAME, **set_here},
    )  # fmt: skip
