"""`Run`: a whole run as one typed value, and the recipes, which are such values.

A recipe holds the options that were measured to work for a game; `--recipe NAME` starts from it, and every option can
still be given.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from tyro.conf import arg

from training.config.base import MAY_CHANGE, Count, Natural, Positive
from training.config.commands import Command, InGame, Machine, Seeded, Settings, Temperatures, recorded_task
from training.config.kinds import narrowed
from training.infra.run_folder import RunFolder
from training.stages import memory, vision
from training.stages.collect import CollectConfig
from training.stages.evaluate import EvaluateConfig
from training.stages.evolve import EvolveConfig
from training.stages.fidelity import Comparison
from training.stages.memory import AnyMemory
from training.stages.ppo import PpoConfig
from training.stages.vision import AnyVision
from wm_envs.cli import peek
from wm_envs.errors import InvalidOption, UnknownName, did_you_mean
from wm_envs.games.gym_env import PREFIX


class RunFidelity(Comparison):
    """How the dream of each round is compared with the game."""

    episodes: Annotated[Count, Field(ge=2)] | Literal["validation"] = Field(
        "validation", description="real episodes per policy; validation: as many as validate a controller"
    )
    temperature: Positive | Literal["middle"] = Field(
        "middle", description="temperature of the dreams; middle: of those in which C is trained"
    )


class Run(Command, Seeded, Machine, Temperatures, InGame):
    """All stages in order, from nothing to an evaluated controller. Every option of a stage is here: --STAGE.OPTION."""

    recipe: Annotated[str, MAY_CHANGE, arg(help_behavior_hint="(default: the game's)")] = Field(
        "", description="what the defaults are: takecover, takecover-paper, carracing, carracing-paper or env"
    )
    rounds: Annotated[Natural, MAY_CHANGE] = Field(
        1, description="number of rounds after round 0, each with play of its own"
    )
    vision_rounds: Natural = Field(1, description="number of these rounds that train V; later rounds use the same V")
    own_frames: Count = Field(800_000, description="frames of the controllers' own play per round")
    learner: Literal["ppo", "evolve"] = Field(
        "ppo", description="how C is trained in the dream; evolve: with CMA-ES, as in the paper"
    )
    continue_controller: bool = Field(
        False, description="C of a round starts from that of the round before, if M does, too"
    )
    calibrate: bool = Field(
        False, description="calibrate the termination probability before C is trained (games of survival)"
    )
    explore_steps: Natural = Field(
        0, description="steps of PPO in the real game in round 0, for a controller that plays for round 1"
    )
    curious: bool = Field(False, description="M's prediction error is the reward of --explore-steps, not the game's")
    real_steps: Natural = Field(
        0, description="steps of PPO in the real game at the end, which start from the best controller"
    )
    real_settings: Settings = Field((), description="settings of the game during these steps, NAME=NUMBER")
    minutes: Annotated[Count | Literal["none"], MAY_CHANGE] = Field(  # what follows from it is kept in choices.json
        "none",
        description="minutes that the run takes on this machine: sizes that are not given follow from measured speeds; "
        "none: they are those of the recipe",
    )
    collect: CollectConfig = CollectConfig()
    vision: AnyVision = vision.of_kind("conv-vae", batches=6_000)
    memory: AnyMemory = memory.of_kind("mdn-rnn", steps=20_000_000, latent_dropout=0.5)
    ppo: PpoConfig = PpoConfig()
    evolve: EvolveConfig = EvolveConfig()
    fidelity: Annotated[RunFidelity, MAY_CHANGE] = RunFidelity()
    evaluate: Annotated[EvaluateConfig, MAY_CHANGE] = EvaluateConfig()

    @classmethod
    def defaults(cls, words: list[str]) -> Self:
        """The recipe that the words choose, with the kinds of V and M that they choose."""
        run = peek(words, "run")
        task = peek(words, "task") or (recorded_task(RunFolder(run)) if run else "")
        recipe = choose_recipe(peek(words, "recipe") or usual_recipe(peek(words, "env"), task))
        return cls(
            **dict(recipe)
            | {
                "vision": narrowed(recipe.vision, vision.kinds(), words, "vision.kind"),
                "memory": narrowed(recipe.memory, memory.kinds(), words, "memory.kind"),
            }
        )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.explore_steps and not self.rounds:
            fix = "give --rounds 1 or more, or --explore-steps 0"
            raise InvalidOption("explore_steps", self.explore_steps, "0 without a round 1", fix)
        if self.explore_steps and not self.ppo.validate_episodes:  # round 0 has no dream to evaluate in
            fix = "give --ppo.validate-episodes 1 or more, or --explore-steps 0"
            raise InvalidOption("ppo.validate_episodes", 0, "at least 1 with --explore-steps", fix)
        if self.curious and not self.explore_steps:
            raise InvalidOption("curious", True, "false without --explore-steps", "give --explore-steps 500000")
        if self.real_steps and self.learner != "ppo":
            fix = "give --learner ppo, or --real-steps 0"
            raise InvalidOption("learner", self.learner, "ppo with --real-steps", fix)
        return self

    @property
    def base(self) -> Run:
        """The recipe that the run starts from."""
        return choose_recipe(self.recipe or usual_recipe(self.env, self.game.name))

    @property
    def validate_episodes(self) -> int:
        """Real episodes per validation of the learner."""
        return self.ppo.validate_episodes if self.learner == "ppo" else self.evolve.validate_episodes


# --- recipes ------------------------------------------------------------------------------------------


ENV = Run(  # any environment; the sizes are those of a run without --minutes
    minutes=60,
    rounds=2,
    own_frames=100_000,
    continue_controller=True,
    temperature=0.8,
    temperature_high=1.2,
    collect=CollectConfig(frames=200_000, part_frames=5_000, sampled=0.5),
    vision=vision.of_kind("grid-vae", batches=16_000, batch_size=32, error="calibrated", motion=20.0),
    memory=memory.of_kind(
        "mdn-rnn",
        frame_skip="motion",
        steps=20_000_000,
        hidden=256,
        learning_rate=3e-3,
        latent_dropout=0.25,
        clip_rewards=True,
        passes=120,
        keep_best=True,
        patience=8,
        keep=True,
        reward_units=64,
    ),
    ppo=PpoConfig(
        total_timesteps=5_000_000,
        num_envs=128,  # four times as many updates as with 512
        batch_size=1024,
        gamma=0.99,
        recorded_starts=0.5,
        validate_episodes=24,
        validate_every=150,
    ),
    fidelity=RunFidelity(episodes=24, dreams=128),
)

TAKECOVER = Run(  # docs/experiments/takecover.md: how the shipped world was made, as one run; not yet measured as one
    task="takecover",
    rounds=2,
    own_frames=1_500_000,
    temperature=1.2,
    temperature_high=1.6,
    calibrate=True,
    collect=CollectConfig(frames=500_000, objects=True),
    vision=vision.of_kind("column-vae", batches=4_500, objects=16.0, motion=0.0, scale=3.0, kl_floor=40.0),
    memory=memory.of_kind(
        "autoregressive", steps=16_000_000, clock=True, observed="modelled", latent_dropout=0.25, learning_rate=1.2e-3
    ),
    ppo=PpoConfig(total_timesteps=8_000_000, batch_size=1024, ensemble_size=3),
)

CARRACING = Run(  # docs/experiments/carracing.md: how the shipped world was made, as one run; not yet measured as one
    task="carracing",
    rounds=2,
    explore_steps=500_000,
    own_frames=800_000,
    temperature=0.8,
    temperature_high=1.4,
    real_steps=500_000,
    real_settings=("off_road_cost=5",),
    collect=CollectConfig(frames=500_000),
    vision=vision.of_kind("conv-vae", batches=5_000),
    memory=memory.of_kind(
        "autoregressive", steps=20_000_000, progress=True, observed="modelled", latent_dropout=0.25, learning_rate=2e-3
    ),
    ppo=PpoConfig(total_timesteps=6_000_000, gamma=0.99, ensemble_size=3),
)

CARRACING_PAPER = Run(  # docs/experiments/training.md: 879 +- 52 in about three hours
    task="carracing",
    rounds=4,
    explore_steps=500_000,
    own_frames=500_000,
    temperature=0.8,
    temperature_high=1.4,
    real_steps=500_000,
    real_settings=("off_road_cost=2",),
    collect=CollectConfig(frames=500_000),
    vision=vision.of_kind("conv-vae", batches=5_000),
    memory=memory.of_kind("mdn-rnn", steps=21_000_000, latent_dropout=0.3),
    ppo=PpoConfig(total_timesteps=4_000_000),
)

RECIPES = {
    "env": ENV,
    "takecover": TAKECOVER,
    "takecover-paper": Run(task="takecover"),
    "carracing": CARRACING,
    "carracing-paper": CARRACING_PAPER,
}
RECIPE_OF_GAME = {"takecover": "takecover-paper", "carracing": "carracing-paper"}  # those that were measured


def choose_recipe(name: str) -> Run:
    """The recipe with this name ("": the defaults); raises `UnknownName`."""
    if not name:
        return Run()
    if name not in RECIPES:
        fix = f"give one of these names{did_you_mean(name, RECIPES)}"
        raise UnknownName("recipe", name, f"one of {', '.join(RECIPES)}", fix)
    return RECIPES[name]


def usual_recipe(env: str, task: str) -> str:
    """The name of the recipe of an environment, or of a task; "" for one that has none."""
    return "env" if env or task.startswith(PREFIX) else RECIPE_OF_GAME.get(task or "takecover", "")
