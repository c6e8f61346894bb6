"""What a command is given beside its own configuration: a run, a round, a game, a seed, and the machine's processes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator
from tyro.conf import FlagCreatePairsOff, arg

from training.config.base import MAY_CHANGE, ON_DISK, Config, Count, Natural, Positive, Text, flag
from training.infra.packages import check_game
from training.infra.pool import Workers
from training.infra.records import read_record
from training.infra.run_folder import RoundFolder, RunFolder
from training.infra.worlds import check_controller, find_round
from wm_envs.errors import InvalidOption
from wm_envs.games.base import Task
from wm_envs.games.registry import TASKS, get_task
from wm_envs.worlds.bundle import read_config

RUNS, DEFAULT_TASK = Path("runs"), "takecover"


# --- checked words ------------------------------------------------------------------------------------


def check_plain(value: str, name: str = "name") -> str:
    """`value` when it can be the name of a folder; raises `InvalidOption`."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", value, re.ASCII):
        raise InvalidOption(name, value, "letters, digits, _, - and . only", f"give --{flag(name)} such a name")
    return value


def _check_task(value: str) -> str:
    if value:
        get_task(value)
    return value


def game_settings(pairs: tuple[str, ...], name: str = "settings") -> dict[str, float]:
    """Settings of a game from words NAME=NUMBER; raises `InvalidOption`."""
    settings = {}
    for pair in pairs:
        setting, _, number = pair.partition("=")
        try:
            settings[setting] = float(number)
        except ValueError as error:
            fix = f"give --{flag(name)} lap_complete_percent=1, for example"
            raise InvalidOption(name, pair, "NAME=NUMBER", fix) from error
    return settings


def _check_settings(pairs: tuple[str, ...], field: ValidationInfo) -> tuple[str, ...]:
    game_settings(pairs, field.field_name or "settings")
    return pairs


def recorded_task(run: RunFolder) -> str:
    """The game that a run folder says it is of, if that is an environment's; "" otherwise."""
    return str(read_record(run.game)["task"]) if run.game.exists() else ""


PlainName = Annotated[str, AfterValidator(check_plain)]
TaskName = Annotated[str, AfterValidator(_check_task)]
Settings = Annotated[tuple[str, ...], AfterValidator(_check_settings), arg(help_behavior_hint="")]


# --- parts of commands --------------------------------------------------------------------------------


class Command(Config):
    """Base of all commands: a configuration, and what it works on."""

    print_json: Annotated[bool, arg(name="json"), FlagCreatePairsOff, MAY_CHANGE] = Field(
        False, exclude=True, description="print the result as JSON on the last line"
    )

    @classmethod
    def defaults(cls, words: list[str]) -> Self:
        """The command without options. Some defaults follow from the words of the command line, such as a kind's."""
        return cls()

    @classmethod
    def flat(cls, **values: Any) -> Self:
        """The command from its own fields and those of its `config`, by name, as the command line has them."""
        fields = cls.model_fields
        own = {name: value for name, value in values.items() if name in fields}
        if "config" not in fields:
            return cls(**values)
        given = {name: value for name, value in values.items() if name not in own}
        default = own.pop("config", None) or cls.defaults([f"--kind={given.get('kind', '')}"]).config  # type: ignore[attr-defined]
        return cls(**own, **{"config": default.replace(**given)})


class Machine(Config):
    """Processes on this machine, or a Ray cluster."""

    workers: Annotated[Count | Literal["cores"], MAY_CHANGE] = Field(
        "cores", description="worker processes; cores: one per core"
    )
    ray: Annotated[Text, MAY_CHANGE] = Field(
        "", description="use a Ray cluster instead: its address, auto, or local to start one here"
    )

    @property
    def pool(self) -> Workers:
        """Where jobs run."""
        return Workers(0 if self.workers == "cores" else self.workers, self.ray)


class Seeded(Config):
    """The seed."""

    seed: Natural = Field(0, description="seed of all random numbers")


class InRun(Config):
    """The run folder, and its game."""

    task: Annotated[TaskName, MAY_CHANGE, arg(help_behavior_hint="(default: that of --run, else takecover)")] = Field(
        "", description=f"the game: {' or '.join(TASKS)}"
    )
    run: Annotated[Path | None, MAY_CHANGE, arg(metavar="PATH", help_behavior_hint="(default: runs/GAME)")] = Field(
        None, description="run folder"
    )

    @model_validator(mode="after")
    def _is_no_file(self) -> Self:
        path = self.run_folder.path
        file = next((each for each in (path, *path.parents) if each.exists() and not each.is_dir()), None)
        if file:
            raise InvalidOption("run", f"{path}, but {file} is a file", "a folder", "give another --run")
        return self

    @property
    def run_folder(self) -> RunFolder:
        """The run folder; by default it is named after the game."""
        return RunFolder(self.run or RUNS / (self.task or DEFAULT_TASK))

    @property
    def game(self) -> Task:
        """The game: the task that was given, or the one that the run folder is of."""
        return get_task(self.task or recorded_task(self.run_folder) or DEFAULT_TASK)


class InGame(InRun):
    """A game: one of this package, or any Gymnasium environment that can be drawn."""

    env: Annotated[Text, MAY_CHANGE] = Field(
        "", description="any Gymnasium environment as the game: its id, or module:id"
    )
    env_kwargs: Annotated[str, MAY_CHANGE] = Field("{}", description="its keywords, as JSON")
    crop: Annotated[tuple[Natural, Natural, Natural, Natural], MAY_CHANGE] = Field(
        (0, 0, 0, 0), description="pixels to cut off its picture: top, bottom, left, right"
    )
    tick_limit: Annotated[Count | Literal["env"], MAY_CHANGE] = Field(
        "env", description="its steps in an episode; env: what it says itself, else 1000"
    )
    life_loss_ends: Annotated[bool, MAY_CHANGE] = Field(False, description="end an episode when a life is lost")

    @model_validator(mode="after")
    def _fits_the_environment(self) -> Self:
        try:
            valid = isinstance(json.loads(self.env_kwargs), dict)
        except ValueError:
            valid = False
        if not valid:
            fix = """give --env-kwargs '{"frameskip": 4}', for example"""
            raise InvalidOption("env_kwargs", self.env_kwargs, "a JSON object", fix)
        for name in ("env_kwargs", "crop", "tick_limit", "life_loss_ends"):
            if not self.env and getattr(self, name) != InGame.model_fields[name].default:
                raise InvalidOption(name, getattr(self, name), "nothing without --env", "give --env ID")
        return self

    @property
    def run_folder(self) -> RunFolder:
        """The run folder; by default it is named after the game."""
        env = re.sub(r"\W+", "-", self.env).strip("-").lower()
        return RunFolder(self.run or RUNS / (env or self.task or DEFAULT_TASK))

    @property
    def game(self) -> Task:
        """The game; raises the errors of `describe` for an environment that cannot be one."""
        if not self.env:
            return super().game
        from wm_envs.games.gym_env.describe import describe

        limit = 0 if self.tick_limit == "env" else self.tick_limit
        return get_task(describe(self.env, json.loads(self.env_kwargs), self.crop, limit, self.life_loss_ends).name)


class ModelRound(Command, Seeded, InRun):
    """The round whose V or M is trained."""

    round: Annotated[Natural, MAY_CHANGE] = Field(0, description="round of the run")
    rounds: Count | Literal["all"] = Field("all", description="number of rounds of play to learn from")
    start: Annotated[Text, ON_DISK] = Field("", description="weights to start from: a checkpoint, or a world")

    @property
    def rounds_of_play(self) -> int | None:
        """The number of rounds to learn from; None: all."""
        return None if self.rounds == "all" else self.rounds

    @property
    def folder(self) -> RoundFolder:
        """The folder of the round; raises `InvalidOption` for one that cannot be next."""
        self.run_folder.check_round(self.round)
        return self.run_folder.round(self.round)


class WorldRound(Command, Seeded, Machine, InRun):
    """The round whose world a controller is trained in."""

    round: Annotated[Natural | Literal["latest"], MAY_CHANGE] = Field(
        "latest", description="round of the run whose world is used; latest: the last one that has a world"
    )


class Temperatures(Config):
    """The temperatures of dreams: one, or a range."""

    temperature: Positive = Field(1.1, description="temperature of the dreams, or the lowest of a range")
    temperature_high: Positive | Literal["none"] = Field(
        1.6, description="highest temperature of the range; none: one temperature only"
    )

    @model_validator(mode="after")
    def _goes_upwards(self) -> Self:
        if self.temperature_high != "none" and self.temperature_high < self.temperature:
            raise InvalidOption(
                "temperature_high",
                self.temperature_high,
                f"none, or at least the temperature, {self.temperature}",
                "give --temperature-high none",
            )
        return self

    @property
    def highest(self) -> float:
        """The highest temperature."""
        return self.temperature if self.temperature_high == "none" else self.temperature_high


class LearnerCommand(WorldRound, Temperatures):
    """The training of a controller in the world of a round."""

    name: PlainName = Field("controller", description="name of the controller")
    train_in: Literal["dream", "game"] = Field("dream", description="where to train")
    start: Text = Field("", description="name of a controller in the world to start from, with the same hidden sizes")
    start_round: Natural | Literal["same"] = Field(
        "same", description="round whose world has the controller of --start; same: the one of --round"
    )

    @model_validator(mode="after")
    def _starts_from_a_controller(self) -> Self:
        if self.start_round != "same" and not self.start:
            raise InvalidOption("start_round", self.start_round, "same without --start", "give --start controller")
        return self

    @property
    def continues(self) -> bool:
        """Whether it continues the training of an earlier round, in another world."""
        return self.start_round != "same"

    def start_folder(self, folder: RoundFolder) -> RoundFolder:
        """The round whose world has the controller to start from, for training in the round of `folder`."""
        return folder if self.start_round == "same" else find_round(self.run_folder, self.start_round, self.task)

    def world_round(self, validate_episodes: int) -> RoundFolder:
        """The folder of the round; raises `BrokenStore` without a world, `UnknownName` without the controller to start
        from, and `MissingPackage` without the game if it is played."""
        folder = find_round(self.run_folder, self.round, self.task)
        if self.start:
            check_controller(self.start_folder(folder).world, self.start, "start")
        if self.train_in == "game" or validate_episodes:
            check_game(get_task(read_config(folder.world)["world"]["task"]))
        return folder
