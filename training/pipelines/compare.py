"""Which learner makes more of a dream: PPO and CMA-ES, with the same number of steps of the same dreams, to within an
update of the one and a generation of the other.

PPO learns a controller with a hidden layer and a linear one; CMA-ES breeds the paper's linear one. All are
validated in the real game on the way, which draws their learning curves, and the best of each is played on the test
seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluation.policies import load_policy, random_policy
from training.infra.options import check_temperatures, count, stage_option
from training.pipelines.tables import Learnt, Table, TableOptions
from training.stages import evolve, ppo


@dataclass
class CompareOptions(TableOptions):
    """Let PPO and CMA-ES learn in the dream of RUN/world, and play what they made in the real game."""

    steps: int = stage_option(8_000_000, "steps of dreams, each", True)
    points: int = stage_option(8, "validations of PPO on the way", True)
    temperature: float = stage_option(1.1, "of the dreams, or the lowest of them", True)
    temperature_high: float = stage_option(1.6, "the highest (0: one only)", True)
    population: int = stage_option(64, "candidates a generation of CMA-ES", True)
    rollouts: int = stage_option(16, "dreams each", True)
    validate_every: int = stage_option(5, "generations between validations of CMA-ES", True)


def main(options: CompareOptions) -> dict[str, Any]:
    """Rows of the table, each with its learning curve (points of dream steps and mean score in the real game), which
    are also kept in RUN/learners."""
    options.checked()
    for name in ("steps", "points", "population", "rollouts", "validate_every", "validate_episodes"):
        count(name, getattr(options, name), 2 if name == "population" else 1)
    options.needs_units()
    check_temperatures(options.temperature, options.temperature_high)
    with Table("learners", options) as table:
        table.row("PPO, hidden layer", lambda: _by_ppo(options, tuple(options.hidden_sizes)))
        table.row("PPO, linear", lambda: _by_ppo(options, ()))
        table.row("CMA-ES, linear", lambda: _by_evolution(options))
        table.row("random", lambda: Learnt(Path(options.run) / "world", random_policy(table.world.task)))
        return table.finish()


def _by_ppo(options: CompareOptions, hidden_sizes: tuple[int, ...]) -> Learnt:
    given = ppo.PpoOptions(
        name=f"compared-{'hidden' if hidden_sizes else 'linear'}",
        total_timesteps=options.steps,
        hidden_sizes=hidden_sizes,
        **_in_dreams(options),
    )
    updates = options.steps // (given.num_envs * given.n_steps)
    given.validate_every = max(1, -(-updates // options.points))
    return _learnt(given.name, options, ppo.main(given)["curve"])


def _by_evolution(options: CompareOptions) -> Learnt:
    given = evolve.EvolveOptions(
        name="compared-bred", steps=options.steps, population=options.population, rollouts=options.rollouts,
        validate_every=options.validate_every, **_in_dreams(options),
    )  # fmt: skip
    return _learnt(given.name, options, evolve.main(given)["curve"])


def _in_dreams(options: CompareOptions) -> dict[str, Any]:
    """What all learn from."""
    temperatures = {"temperature": options.temperature, "temperature_high": options.temperature_high}
    return {"run": options.run} | temperatures | options.shared()


def _learnt(name: str, options: CompareOptions, curve: list[list[float]]) -> Learnt:
    world = Path(options.run) / "world"
    return Learnt(world, load_policy(world, name), {"curve": curve})
