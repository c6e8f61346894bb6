"""Groups of options that several stages share: the same option has the same name, default and help everywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.infra.options import StageOptions, flag, stage_option
from wm_envs.errors import InvalidOption, UnknownName, did_you_mean
from wm_envs.games.registry import TASKS

RUNS, DEFAULT_TASK = Path("runs"), "takecover"


def plain_name(name: str, value: str) -> str:
    """`value` when it can be the name of a folder; raises `InvalidOption`."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", value, re.ASCII):
        raise InvalidOption(name, value, "letters, digits, _, - and . only", f"give --{flag(name)} such a name")
    return value


def known_task(name: str, value: str) -> None:
    """Raises `UnknownName` unless `value` is a game, or nothing."""
    if value and value not in TASKS:
        fix = f"give one of these names{did_you_mean(value, TASKS)}"
        raise UnknownName(name, value, f"one of {sorted(TASKS)}", fix)


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
        return super().defaults(given) | {"run": RUNS / (given.get("task") or DEFAULT_TASK)}

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
