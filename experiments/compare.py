"""PPO against CMA-ES with the same number of steps in the same dreams, up to one update or generation.

PPO trains a controller with a hidden layer and a linear one, CMA-ES the paper's linear one. Validations in the real
game give their learning curves, and the best controller of each plays the test seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.tables import Table, TableOptions, Trained
from training.acting.policies import load_policy, random_policy
from training.infra.option_groups import DreamOptions
from training.infra.options import check_options, stage_option
from training.judging.scoring import Learned
from training.stages import evolve, ppo


@dataclass
class CompareOptions(DreamOptions, TableOptions):
    """Train with PPO and CMA-ES in the dream of a world, and play the controllers in the real game."""

    steps: int = stage_option(8_000_000, "steps in dreams per learner", identity=True, minimum=1)
    points: int = stage_option(8, "number of validations of PPO", identity=True, minimum=1)
    population: int = stage_option(64, "candidates per generation", identity=True, minimum=2)
    rollouts: int = stage_option(16, "episodes per candidate", identity=True, minimum=1)
    validate_every: int = stage_option(5, "generations between validations of CMA-ES", identity=True, minimum=1)

    def check(self) -> None:
        """Raises `InvalidOption` without validation or without a hidden layer."""
        super().check()
        self.needs_validation()
        self.needs_hidden_layer()


def main(options: CompareOptions) -> dict[str, Any]:
    """Rows of the table `learners`, each with its learning curve: dream steps and mean score in the real game."""
    check_options(options)
    with Table("learners", options) as table:
        hidden, linear, searched, random = row_names(options)
        table.row(hidden, lambda: _by_ppo(table, options, tuple(options.hidden_sizes)))
        table.row(linear, lambda: _by_ppo(table, options, ()))
        table.row(searched, lambda: _by_evolution(table, options))
        table.row(random, lambda: Trained(table.round.world, random_policy(table.world.task)))
        return table.finish()


def row_names(options: CompareOptions) -> list[str]:
    """The names of the rows."""
    sizes = " and ".join(map(str, options.hidden_sizes))
    search = f"{options.population} candidates, {options.rollouts} dreams each"
    return [
        f"PPO, {sizes} tanh hidden units",
        "PPO, linear",
        f"CMA-ES, linear, as in the paper ({search})",
        "random play",
    ]


def _by_ppo(table: Table, options: CompareOptions, hidden_sizes: tuple[int, ...]) -> Trained:
    given = ppo.PpoOptions(
        name=f"compared-{'hidden' if hidden_sizes else 'linear'}",
        total_timesteps=options.steps,
        hidden_sizes=hidden_sizes,
        **_in_dreams(options),
    )
    updates = options.steps // (given.num_envs * given.n_steps)
    given.validate_every = max(1, -(-updates // options.points))
    return _trained(table, given.name, ppo.main(given))


def _by_evolution(table: Table, options: CompareOptions) -> Trained:
    given = evolve.EvolveOptions(
        name="compared-evolved", steps=options.steps, population=options.population, rollouts=options.rollouts,
        validate_every=options.validate_every, **_in_dreams(options),
    )  # fmt: skip
    return _trained(table, given.name, evolve.main(given))


def _in_dreams(options: CompareOptions) -> dict[str, Any]:
    """Options that all learners share."""
    temperatures = {"temperature": options.temperature, "temperature_high": options.temperature_high}
    return temperatures | options.shared()


def _trained(table: Table, name: str, learned: Learned) -> Trained:
    return Trained(table.round.world, load_policy(table.round.world, name), curve=learned.curve)
