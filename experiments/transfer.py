"""The paper's table: controllers that are trained in the dream at one temperature and play the real game.

The baselines play the same test seeds: random play, the best open-loop policy (chosen on validation seeds), C on z
alone, and C on z and the h of an untrained M (both trained with CMA-ES).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.tables import Table, TableOptions, Trained, untrained_memory
from training.acting.policies import MoveAndWait, Policy, load_policy, random_policy
from training.acting.rollout import dream_episodes, real_returns
from training.infra.options import check_options, stage_option
from training.infra.pool import Workers
from training.judging.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS, Score
from training.stages import evolve, ppo
from training.stages.evolve import EvolveOptions
from wm_envs.games.base import Task
from wm_envs.worlds.bundle import read_controller, save_controller, save_world

OPEN_LOOPS = (60, 80, 100, 120, 140)  # ticks between changes of direction


@dataclass
class TransferOptions(TableOptions):
    """Train one controller per temperature in the dream of a world; all play the dream and the game."""

    temperatures: tuple[float, ...] = stage_option(
        (0.1, 0.5, 1.0, 1.15, 1.3), "temperatures to train at", exclusive_minimum=0
    )
    learner: str = stage_option(
        "ppo", "how C is trained: ppo, or evolve (CMA-ES, as in the paper)", identity=True, choices=("ppo", "evolve")
    )
    ppo_steps: int = stage_option(1_000_000, "steps in dreams per row with PPO", identity=True, minimum=1)
    generations: int = stage_option(30, "generations of CMA-ES per row", identity=True, minimum=1)
    population: int = stage_option(64, "candidates per generation", identity=True, minimum=2)
    rollouts: int = stage_option(16, "episodes per candidate", identity=True, minimum=1)
    validate_every: int = stage_option(10, "generations between validations", identity=True, minimum=1)
    ablations: bool = stage_option(True, "also train the z-only and untrained-M baselines")


def main(options: TransferOptions) -> dict[str, Any]:
    """Rows of the table `transfer`."""
    check_options(options)
    with Table("transfer", options) as table:
        task, world = table.world.task, table.round.world
        for temperature in options.temperatures:
            table.row(f"temperature {temperature:g}", functools.partial(_at, table, options, temperature))
        table.row(
            "random, holds of {}-{} ticks".format(*task.random_play.holds[0]),
            lambda: Trained(world, random_policy(task)),
        )
        table.row("best open loop", functools.partial(_open_loop, table, options))
        if options.ablations:
            table.row("C on z only", lambda: _on_z(table, options))
            table.row("C on z and the h of an untrained M", lambda: _untrained(table, options))
        return table.finish()


def _at(table: Table, options: TransferOptions, temperature: float) -> Trained:
    """A controller that is trained at one temperature, with PPO or with CMA-ES."""
    name = f"tau-{temperature:g}"
    if options.learner == "evolve":
        evolve.main(_search(options, name, temperature))
    else:
        ppo.main(ppo.PpoOptions(
            name=name, total_timesteps=options.ppo_steps, hidden_sizes=tuple(options.hidden_sizes),
            temperature=temperature, temperature_high=0.0, **options.shared(),
        ))  # fmt: skip
    return _with_dreams(table, options, name, temperature)


def _search(options: TransferOptions, name: str, temperature: float, **changes: Any) -> EvolveOptions:
    sizes = {key: getattr(options, key) for key in ("generations", "population", "rollouts", "validate_every")}
    return EvolveOptions(
        name=name, temperature=temperature, temperature_high=0.0, **sizes, **options.shared(), **changes
    )


def _with_dreams(table: Table, options: TransferOptions, name: str, temperature: float) -> Trained:
    """A controller of the world, with its scores in dreams at a temperature."""
    world, policy = table.world, load_policy(table.round.world, name)
    dreams = dream_episodes(world, policy, options.episodes, temperature, UNSEEN_DREAMS + 1)
    return Trained(table.round.world, policy, dream=Score.of(dreams.returns[0]))


def _open_loop(table: Table, options: TransferOptions) -> Trained:
    """The best open-loop policy; which one it is stands in the row's label."""
    world = table.round.world
    policy = best_open_loop(table.world.task, world, options)
    return Trained(world, policy, label=f"best {policy.name}")


def best_open_loop(task: Task, folder: Path, options: TransferOptions) -> Policy:
    """The alternation with the best score on the validation seeds."""
    loops = [MoveAndWait(f"open loop, switching every {move} ticks", move) for move in OPEN_LOOPS]
    seeds = [VALIDATION_SEEDS + i for i in range(options.validate_episodes or 48)]
    found = real_returns(folder, list(loops), seeds, Workers(options.workers, options.ray))
    return max(loops, key=lambda loop: found[loop.name].mean())


def _on_z(table: Table, options: TransferOptions) -> Trained:
    """C, trained in the dream on z alone."""
    evolve.main(_search(options, "z-only", 1.0, observation="z"))
    return _with_dreams(table, options, "z-only", 1.0)


def _untrained(table: Table, options: TransferOptions) -> Trained:
    """C, trained in the same dream on z and the h of an untrained M."""
    world, name = table.round.untrained_world, "untrained-memory"
    save_world(world, untrained_memory(table.world, options.seed), {"memory": "untrained"})
    evolve.main(_search(options, name, 1.0, observer=str(world)))
    save_controller(world, name, *read_controller(table.round.world, name))
    return Trained(world, load_policy(world, name))
