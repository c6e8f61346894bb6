"""Whether the dream responds to actions as the game does (see training/judging/fidelity.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.infra.option_groups import WorkerOptions
from training.infra.options import check_options, stage_option
from training.infra.pool import Workers
from training.infra.worlds import find_folder
from training.judging.battery import full_battery
from training.judging.fidelity import FidelityReport, compare
from training.judging.returns import dream_returns, game_returns
from wm_envs.worlds.bundle import load_world


@dataclass
class FidelityOptions(WorkerOptions):
    """Compare the dream with the game, policy by policy."""

    world: str = stage_option("takecover", "a shipped world's name or a folder")
    controllers: str = stage_option("all", "controllers in the battery: all, none, or names, comma separated")
    controllers_of: str = stage_option("", "another world whose controllers to play (default: the same)")
    epsilons: tuple[float, ...] = stage_option(
        (), "also play each controller with these shares of random actions (0.2 0.5)", exclusive_minimum=0, maximum=1
    )
    episodes: int = stage_option(64, "real episodes per policy", minimum=2)
    dreams: int = stage_option(512, "dreams per policy", minimum=2)
    temperature: float = stage_option(1.0, "temperature of the dreams", exclusive_minimum=0)
    cache: str = stage_option("", "JSON file for real returns of open-loop policies beyond those of the package")
    replay: bool = stage_option(False, "play the open-loop policies in the game even where their returns are stored")


def main(options: FidelityOptions) -> FidelityReport:
    """Mean scores with intervals in both, Spearman's rank correlation, mean absolute log ratio."""
    check_options(options)
    folder = find_folder(options.world)
    source = find_folder(options.controllers_of) if options.controllers_of else folder
    world = load_world(folder)
    policies = full_battery(world.task, source, options.controllers, options.epsilons)
    cache = Path(options.cache) if options.cache else None
    workers = Workers(options.workers, options.ray)
    real = game_returns(folder, world, policies, options.episodes, workers, cache, options.replay)
    dream = lambda policy: dream_returns(world, policy, options.dreams, options.temperature)  # noqa: E731
    report = compare(world.task, policies, lambda policy: real[policy.name], dream, options.temperature)
    for row in report.policies:
        print(
            f"{row.policy:>24}  real {row.real.mean:7.0f} +- {row.real.interval:4.0f}"
            f"  dream {row.dream.mean:7.0f} +- {row.dream.interval:4.0f}{'  (held out)' if row.held_out else ''}"
        )
    return report
