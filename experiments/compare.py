"""PPO against CMA-ES with the same number of steps in the same dreams, up to one update or generation.

PPO trains a controller with a hidden layer and a linear one, CMA-ES the paper's linear one. Validations in the real
game give their learning curves, and the best controller of each plays the test seeds.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from experiments.tables import Table, TableCommand, Trained
from training.acting.policies import load_policy, random_policy
from training.config.base import Count
from training.config.commands import Temperatures
from training.judging.scoring import Learned
from training.stages import evolve, ppo
from training.stages.evolve import EvolveConfig
from training.stages.ppo import PpoConfig


class Command(TableCommand, Temperatures):
    """Train with PPO and CMA-ES in the dream of a world, and play the controllers in the real game."""

    steps: Count = Field(8_000_000, description="steps in dreams per learner")
    points: Count = Field(8, description="number of validations of PPO")
    population: Annotated[Count, Field(ge=2)] = Field(64, description="candidates per generation")
    rollouts: Count = Field(16, description="episodes per candidate")
    validate_every: Count = Field(5, description="generations between validations of CMA-ES")


def main(command: Command) -> dict[str, Any]:
    """Rows of the table `learners`, each with its learning curve: dream steps and mean score in the real game."""
    command.check_comparable()
    with Table("learners", command) as table:
        hidden, linear, searched, random = row_names(command)
        table.row(hidden, lambda: _by_ppo(table, command, command.hidden_sizes))
        table.row(linear, lambda: _by_ppo(table, command, ()))
        table.row(searched, lambda: _by_evolution(table, command))
        table.row(random, lambda: Trained(table.round.world, random_policy(table.world.task)))
        return table.finish()


def row_names(command: Command) -> list[str]:
    """The names of the rows."""
    sizes = " and ".join(map(str, command.hidden_sizes))
    search = f"{command.population} candidates, {command.rollouts} dreams each"
    return [
        f"PPO, {sizes} tanh hidden units",
        "PPO, linear",
        f"CMA-ES, linear, as in the paper ({search})",
        "random play",
    ]


def _by_ppo(table: Table, command: Command, hidden_sizes: tuple[int, ...]) -> Trained:
    config = PpoConfig(
        total_timesteps=command.steps, hidden_sizes=hidden_sizes, validate_episodes=command.validate_episodes
    )
    config = config.replace(validate_every=max(1, -(-(command.steps // config.update_size) // command.points)))
    name = f"compared-{'hidden' if hidden_sizes else 'linear'}"
    return _trained(table, name, ppo.main(ppo.Command(**_in_dreams(table, command, name), config=config)))


def _by_evolution(table: Table, command: Command) -> Trained:
    config = EvolveConfig(
        steps=command.steps,
        population=command.population,
        rollouts=command.rollouts,
        validate_every=command.validate_every,
        validate_episodes=command.validate_episodes,
    )
    name = "compared-evolved"
    searched = evolve.main(evolve.Command(**_in_dreams(table, command, name), config=config))
    return _trained(table, name, searched)


def _in_dreams(table: Table, command: Command, name: str) -> dict[str, Any]:
    """What all learners share."""
    temperatures = {"temperature": command.temperature, "temperature_high": command.temperature_high}
    return table.place() | temperatures | {"name": name}


def _trained(table: Table, name: str, learned: Learned) -> Trained:
    return Trained(table.round.world, load_policy(table.round.world, name), curve=learned.curve)
