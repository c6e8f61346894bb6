"""The paper's table: controllers that are trained in the dream at one temperature and play the real game.

The baselines play the same test seeds: random play, the best open-loop policy (chosen on validation seeds), C on z
alone, and C on z and the h of an untrained M (both trained with CMA-ES).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from experiments.tables import Table, TableCommand, Trained, untrained_memory
from training.acting.policies import MoveAndWait, Policy, load_policy, random_policy
from training.acting.rollout import dream_episodes, real_returns
from training.config.base import MAY_CHANGE, Count, Positive
from training.judging.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS, Score
from training.stages import evolve, ppo
from training.stages.evolve import EvolveConfig
from training.stages.ppo import PpoConfig
from wm_envs.games.base import Task
from wm_envs.worlds.bundle import read_controller, save_controller, save_world

OPEN_LOOPS = (60, 80, 100, 120, 140)  # ticks between changes of direction


class Command(TableCommand):
    """Train one controller per temperature in the dream of a world; all play the dream and the game."""

    temperatures: Annotated[tuple[Positive, ...], MAY_CHANGE] = Field(
        (0.1, 0.5, 1.0, 1.15, 1.3), description="temperatures to train at"
    )
    learner: Literal["ppo", "evolve"] = Field("ppo", description="how C is trained; evolve: CMA-ES, as in the paper")
    ppo_steps: Count = Field(1_000_000, description="steps in dreams per row with PPO")
    generations: Count = Field(30, description="generations of CMA-ES per row")
    population: Annotated[Count, Field(ge=2)] = Field(64, description="candidates per generation")
    rollouts: Count = Field(16, description="episodes per candidate")
    validate_every: Count = Field(10, description="generations between validations")
    ablations: Annotated[bool, MAY_CHANGE] = Field(True, description="also train the z-only and untrained-M baselines")


def main(command: Command) -> dict[str, Any]:
    """Rows of the table `transfer`."""
    with Table("transfer", command) as table:
        task, world = table.world.task, table.round.world
        for temperature in command.temperatures:
            table.row(f"temperature {temperature:g}", functools.partial(_at, table, command, temperature))
        table.row(
            "random, holds of {}-{} ticks".format(*task.random_play.holds[0]),
            lambda: Trained(world, random_policy(task)),
        )
        table.row("best open loop", functools.partial(_open_loop, table, command))
        if command.ablations:
            table.row("C on z only", lambda: _on_z(table, command))
            table.row("C on z and the h of an untrained M", lambda: _untrained(table, command))
        return table.finish()


def _at(table: Table, command: Command, temperature: float) -> Trained:
    """A controller that is trained at one temperature, with PPO or with CMA-ES."""
    name = f"tau-{temperature:g}"
    if command.learner == "evolve":
        _search(table, command, name, temperature)
    else:
        config = PpoConfig(
            total_timesteps=command.ppo_steps,
            hidden_sizes=command.hidden_sizes,
            validate_episodes=command.validate_episodes,
        )
        ppo.main(ppo.Command(**_at_one(table, name, temperature), config=config))
    return _with_dreams(table, command, name, temperature)


def _at_one(table: Table, name: str, temperature: float) -> dict[str, Any]:
    return table.place() | {"name": name, "temperature": temperature, "temperature_high": "none"}


def _search(
    table: Table, command: Command, name: str, temperature: float, observation: str = "zh", observer: str = ""
) -> None:
    """Train a controller with CMA-ES."""
    sizes = {key: getattr(command, key) for key in ("generations", "population", "rollouts", "validate_every")}
    config = EvolveConfig(**sizes, observation=observation, validate_episodes=command.validate_episodes)
    evolve.main(evolve.Command(**_at_one(table, name, temperature), observer=observer, config=config))


def _with_dreams(table: Table, command: Command, name: str, temperature: float) -> Trained:
    """A controller of the world, with its scores in dreams at a temperature."""
    world, policy = table.world, load_policy(table.round.world, name)
    dreams = dream_episodes(world, policy, command.episodes, temperature, UNSEEN_DREAMS + 1)
    return Trained(table.round.world, policy, dream=Score.of(dreams.returns[0]))


def _open_loop(table: Table, command: Command) -> Trained:
    """The best open-loop policy; which one it is stands in the row's label."""
    world = table.round.world
    policy = best_open_loop(table.world.task, world, command)
    return Trained(world, policy, label=f"best {policy.name}")


def best_open_loop(task: Task, folder: Path, command: Command) -> Policy:
    """The alternation with the best score on the validation seeds."""
    loops = [MoveAndWait(f"open loop, switching every {move} ticks", move) for move in OPEN_LOOPS]
    seeds = [VALIDATION_SEEDS + i for i in range(command.validate_episodes or 48)]
    found = real_returns(folder, list(loops), seeds, command.pool)
    return max(loops, key=lambda loop: found[loop.name].mean())


def _on_z(table: Table, command: Command) -> Trained:
    """C, trained in the dream on z alone."""
    _search(table, command, "z-only", 1.0, observation="z")
    return _with_dreams(table, command, "z-only", 1.0)


def _untrained(table: Table, command: Command) -> Trained:
    """C, trained in the same dream on z and the h of an untrained M."""
    world, name = table.round.path / "world-untrained", "untrained-memory"
    save_world(world, untrained_memory(table.world, command.seed), {"memory": "untrained"})
    _search(table, command, name, 1.0, observer=str(world))
    save_controller(world, name, *read_controller(table.round.world, name))
    return Trained(world, load_policy(world, name))
