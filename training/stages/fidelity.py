"""Whether the dream responds to actions as the game does (see training/judging/fidelity.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from tyro.conf import arg

from training.config.base import FLAT, Config, Count, Positive, Text
from training.config.commands import Command as BaseCommand
from training.config.commands import Machine
from training.infra.worlds import find_folder
from training.judging.battery import full_battery
from training.judging.calibration import calibrate_end
from training.judging.fidelity import FidelityReport, compare
from training.judging.returns import dream_returns, game_returns
from wm_envs.worlds.bundle import load_world


class Comparison(Config):
    """Which policies play, and how many dreams."""

    epsilons: Annotated[tuple[Annotated[Positive, Field(le=1)], ...], arg(help_behavior_hint="")] = Field(
        (), description="also play each controller with these shares of random actions (0.2 0.5)"
    )
    dreams: Annotated[Count, Field(ge=2)] = Field(512, description="dreams per policy")
    replay: bool = Field(
        False, description="play the open-loop policies in the game even where their returns are stored"
    )


class FidelityConfig(Comparison):
    """How dream and game are compared."""

    episodes: Annotated[Count, Field(ge=2)] = Field(64, description="real episodes per policy")
    temperature: Positive = Field(1.0, description="temperature of the dreams")


class Command(BaseCommand, Machine):
    """Compare the dream with the game, policy by policy."""

    world: str = Field("takecover", description="a shipped world's name or a folder")
    controllers: str = Field("all", description="controllers in the battery: all, none, or names, comma separated")
    controllers_of: Text = Field("", description="another world whose controllers to play (default: the same)")
    cache: Text = Field("", description="JSON file for real returns of open-loop policies beyond those of the package")
    calibrate: bool = Field(
        False, description="first calibrate the termination probability of the world, which is changed"
    )
    config: Annotated[FidelityConfig, FLAT] = FidelityConfig()


def main(command: Command) -> FidelityReport:
    """Mean scores with intervals in both, Spearman's rank correlation, mean absolute log ratio."""
    folder, config = find_folder(command.world), command.config
    if command.calibrate:
        calibrate_end(folder, config.temperature, command.pool)
    source = find_folder(command.controllers_of) if command.controllers_of else folder
    world = load_world(folder)
    policies = full_battery(world.task, source, command.controllers, config.epsilons)
    cache = Path(command.cache) if command.cache else None
    real = game_returns(folder, world, policies, config.episodes, command.pool, cache, config.replay)
    dream = lambda policy: dream_returns(world, policy, config.dreams, config.temperature)  # noqa: E731
    report = compare(world.task, policies, lambda policy: real[policy.name], dream, config.temperature)
    for row in report.policies:
        print(
            f"{row.policy:>24}  real {row.real.mean:7.0f} +- {row.real.interval:4.0f}"
            f"  dream {row.dream.mean:7.0f} +- {row.dream.interval:4.0f}{'  (held out)' if row.held_out else ''}"
        )
    return report
