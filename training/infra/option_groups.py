"""Groups of options that several stages share: the same option has the same name, default and help everywhere."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from training.infra.options import StageOptions, flag, stage_option
from training.infra.records import read_record
from training.infra.run_folder import RunFolder
from wm_envs.errors import InvalidOption
from wm_envs.games.registry import TASKS, get_task

RUNS, DEFAULT_TASK = Path("runs"), "takecover"


def plain_name(name: str, value: str) -> str:
    """`value` when it can be the name of a folder; raises `InvalidOption`."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", value, re.ASCII):
        raise InvalidOption(name, value, "letters, digits, _, - and . only", f"give --{flag(name)} such a name")
    return value


def known_task(name: str, value: str) -> None:
    """Raises `UnknownName` or `InvalidOption` unless `value` is a game, or nothing."""
    if value:
        get_task(value)


def game_settings(pairs: tuple[str, ...]) -> dict[str, float]:
    """Settings of a game from words NAME=NUMBER; raises `InvalidOption`."""
    found = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            found[name] = float(number)
        except ValueError as error:
            fix = "give lap_complete_percent=1, for example"
            raise InvalidOption("settings", pair, "NAME=NUMBER", fix) from error
    return found


def check_setting(name: str, value: str) -> None:
    """Raises `InvalidOption` unless `value` is NAME=NUMBER."""
    game_settings((value,))


@dataclass(kw_only=True)
class RunTaskOption(StageOptions):
    """The game of a run, for stages that find the game in the run."""

    task: str = stage_option("", "the game; its run folder is the default of --run", check=known_task)


@dataclass
class RunOption(RunTaskOption):
    """The run folder."""

    run: Path = stage_option(RUNS / DEFAULT_TASK, "run folder")

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The run folder of the game."""
        env = re.sub(r"\W+", "-", given.get("env") or "").strip("-").lower()
        return super().defaults(given) | {"run": RUNS / (env or given.get("task") or DEFAULT_TASK)}

    def check(self) -> None:
        """Raises `InvalidOption` for a run folder that is a file, or lies in one."""
        super().check()
        file = next((path for path in (self.run, *self.run.parents) if path.exists() and not path.is_dir()), None)
        if file:
            raise InvalidOption("run", f"{self.run}, but {file} is a file", "a folder", "give another --run")


@dataclass
class ModelRoundOptions(RunOption):
    """The run folder and the round that a stage works for."""

    round: int = stage_option(0, "round of the run", minimum=0)


@dataclass
class WorldRoundOptions(RunOption):
    """The run folder and the round whose world a stage uses."""

    round: int = stage_option(-1, "round of the run whose world is used (-1: the latest that has one)", minimum=-1)


@dataclass(kw_only=True)
class TaskOption(StageOptions):
    """The game."""

    task: str = stage_option(DEFAULT_TASK, f"the game: {' or '.join(TASKS)}", check=known_task)

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """The game that the run folder says it is of, if it is that of an environment."""
        found = super().defaults(given)
        game = RunFolder(given.get("run") or found.get("run", RUNS / DEFAULT_TASK)).game
        asked = given.get("task") or given.get("env")
        return found if asked or not game.exists() else found | {"task": str(read_record(game)["task"])}


@dataclass(kw_only=True)
class EnvOptions(TaskOption):
    """Any Gymnasium environment that can be drawn, as the game."""

    env: str = stage_option("", "any Gymnasium environment as the game: its id, or module:id")
    env_kwargs: str = stage_option("{}", "its keywords, as JSON")
    crop: tuple[int, ...] = stage_option((), "pixels to cut off its picture: top, bottom, left, right", minimum=0)
    tick_limit: int = stage_option(0, "its steps in an episode (0: what it says itself, else 1000)", minimum=0)
    life_loss_ends: bool = stage_option(False, "end an episode when a life is lost")

    def check(self) -> None:
        """Raises `InvalidOption` for keywords that are no JSON object, and for values without --env."""
        super().check()
        try:
            valid = isinstance(json.loads(self.env_kwargs), dict)
        except ValueError:
            valid = False
        if not valid:
            fix = """give --env-kwargs '{"frameskip": 4}', for example"""
            raise InvalidOption("env_kwargs", self.env_kwargs, "a JSON object", fix)
        if len(self.crop) not in (0, 4):
            raise InvalidOption("crop", self.crop, "four numbers", "give --crop 0 0 0 0, for example")
        given = [name for name in ENV_FIELDS[1:] if getattr(self, name) != getattr(EnvOptions, name)]
        if given and not self.env:
            raise InvalidOption(given[0], getattr(self, given[0]), "nothing without --env", "give --env ID")

    def described(self) -> Self:
        """These options with the environment as their task; raises the errors of `describe`."""
        if not self.env:
            return self
        from wm_envs.games.gym_env.describe import describe

        found = describe(
            self.env, json.loads(self.env_kwargs), self.crop or (0, 0, 0, 0), self.tick_limit, self.life_loss_ends
        )
        return dataclasses.replace(self, task=found.name)


ENV_FIELDS = ("env", "env_kwargs", "crop", "tick_limit", "life_loss_ends")


@dataclass(kw_only=True)
class SeedOption(StageOptions):
    """The seed."""

    seed: int = stage_option(0, "seed of all random numbers", identity=True, minimum=0)


@dataclass(kw_only=True)
class ProcessOption(StageOptions):
    """Processes on this machine."""

    workers: int = stage_option(0, "worker processes (0: one per core)", minimum=0)


@dataclass(kw_only=True)
class WorkerOptions(ProcessOption):
    """Processes on this machine, or a Ray cluster."""

    ray: str = stage_option("", "use a Ray cluster instead: its address, auto, or local to start one here")


@dataclass(kw_only=True)
class RealGameOptions(WorkerOptions):
    """Validation in the real game."""

    validate_episodes: int = stage_option(48, "real episodes per validation (0: validate in dreams only)", minimum=0)


@dataclass(kw_only=True)
class DreamOptions(StageOptions):
    """Temperatures of the dreams."""

    temperature: float = stage_option(
        1.1, "temperature of the dreams, or the lowest of a range", identity=True, exclusive_minimum=0
    )
    temperature_high: float = stage_option(
        1.6, "highest temperature of the range (0: one temperature only)", identity=True, minimum=0
    )

    def check(self) -> None:
        """Raises `InvalidOption` unless the range goes upwards."""
        super().check()
        if 0 < self.temperature_high < self.temperature:
            raise InvalidOption(
                "temperature_high", self.temperature_high, f"0, or at least the temperature, {self.temperature}",
                "give --temperature-high 0",
            )  # fmt: skip


@dataclass(kw_only=True)
class ControllerOptions(StageOptions):
    """What a controller looks like."""

    hidden_sizes: tuple[int, ...] = stage_option(
        (64,), "tanh units of the controller's hidden layers with PPO (none: linear)", identity=True, minimum=1
    )
