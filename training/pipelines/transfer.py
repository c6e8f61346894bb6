"""The paper's table: learnt in the dream at a temperature, then played in the real game.

Beside it the baselines on the same test seeds: random play, the best open-loop policy (chosen on
validation seeds), C on z alone, and C on z and the h of an untrained M (these two bred by CMA-ES).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluation.policies import OpenLoopPolicy, Policy, actor, load_policy, random_policy
from training.evaluation.rollout import dream_episodes, real_returns
from training.evaluation.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS, summary
from training.infra.options import count, positive, stage_option
from training.infra.pool import Workers
from training.pipelines.tables import Learnt, Table, TableOptions, untrained_memory
from training.stages import evolve, ppo
from training.stages.evolve import EvolveOptions
from wm_envs.envs.spaces import one_of
from wm_envs.games.base import Task
from wm_envs.models.bundle import load_controller, save_controller, save_world
from wm_envs.models.world_model import WorldModel

OPEN_LOOPS = (60, 80, 100, 120, 140)  # ticks between changes of side


@dataclass
class TransferOptions(TableOptions):
    """One controller a temperature learns in RUN/world; all are played in dream and game."""

    temperatures: tuple[float, ...] = stage_option((0.1, 0.5, 1.0, 1.15, 1.3), "temperatures to breed at")
    learner: str = stage_option("ppo", "how C learns: ppo, or evolve (CMA-ES, as in the paper)", True)
    ppo_steps: int = stage_option(1_000_000, "steps of dreams for PPO, each", True)
    generations: int = stage_option(30, "generations of CMA-ES, each", True)
    population: int = stage_option(64, "candidates a generation", True)
    rollouts: int = stage_option(16, "dreams each", True)
    validate_every: int = stage_option(10, "generations between validations in the real game", True)
    ablations: bool = stage_option(True, "breed the z-only and untrained-M baselines too")


def main(options: TransferOptions) -> dict[str, Any]:
    """Rows of the table, which are also kept in RUN/transfer."""
    options.checked()
    for name in ("ppo_steps", "generations", "population", "rollouts", "validate_every"):
        count(name, getattr(options, name), 2 if name == "population" else 1)
    for temperature in options.temperatures:
        positive("temperatures", temperature)
    one_of("learner", options.learner, ("ppo", "evolve"))
    folder = Path(options.run) / "world"
    with Table("transfer", options) as table:
        task = table.world.task
        for temperature in options.temperatures:
            table.row(f"tau {temperature:g}", functools.partial(_at, options, table.world, temperature))
        table.row("random", lambda: Learnt(folder, random_policy(task)))
        table.row("best open loop", lambda: Learnt(folder, best_open_loop(task, folder, options)))
        if options.ablations:
            table.row("C on z only", lambda: _on_z(options, table.world))
            table.row("C on z and an untrained M's h", lambda: _untrained(options, table.world))
        return table.finish()


def _at(options: TransferOptions, world: WorldModel, temperature: float) -> Learnt:
    """A controller that learns at one temperature, by PPO or by CMA-ES."""
    name = f"tau-{temperature:g}"
    if options.learner == "evolve":
        evolve.main(_search(options, name, temperature))
    else:
        ppo.main(ppo.PpoOptions(
            run=options.run, name=name, total_timesteps=options.ppo_steps, hidden_sizes=tuple(options.hidden_sizes),
            temperature=temperature, temperature_high=0.0, **options.shared(),
        ))  # fmt: skip
    return _with_dreams(options, world, name, temperature)


def _search(options: TransferOptions, name: str, temperature: float, **changes: Any) -> EvolveOptions:
    sizes = {key: getattr(options, key) for key in ("generations", "population", "rollouts", "validate_every")}
    return EvolveOptions(run=options.run, name=name, temperature=temperature, **sizes, **options.shared(), **changes)


def _with_dreams(options: TransferOptions, world: WorldModel, name: str, temperature: float) -> Learnt:
    """A controller of RUN/world, and how it does in dreams at a temperature."""
    folder = Path(options.run) / "world"
    policy = load_policy(folder, name)
    act, observation = actor(policy, world.task, [], world.config.frame_skip)
    dreams = dream_episodes(world, act, observation, 1, options.episodes, temperature, UNSEEN_DREAMS + 1)
    return Learnt(folder, policy, {"dream": summary(dreams.returns[0])})


def best_open_loop(task: Task, folder: Path, options: TransferOptions) -> Policy:
    """The alternation that does best on the validation seeds."""
    loops = [OpenLoopPolicy(f"open loop, switching every {k} ticks", "alternate", k) for k in OPEN_LOOPS]
    seeds = [VALIDATION_SEEDS + i for i in range(options.validate_episodes or 48)]
    found = real_returns(folder, list(loops), seeds, Workers(options.workers, options.ray))
    return max(loops, key=lambda loop: found[loop.name].mean())


def _on_z(options: TransferOptions, world: WorldModel) -> Learnt:
    """C bred in the dream on z alone."""
    evolve.main(_search(options, "z-only", 1.0, observation="z"))
    return _with_dreams(options, world, "z-only", 1.0)


def _untrained(options: TransferOptions, world: WorldModel) -> Learnt:
    """C bred in the same dream, but seeing z and the h of an M that never learnt."""
    folder = Path(options.run) / "world-untrained"
    blank = untrained_memory(world, options.seed)
    save_world(folder, blank, {"memory": "untrained, for an ablation"})
    evolve.main(_search(options, "untrained-memory", 1.0, observer=str(folder)))
    save_controller(folder, "untrained-memory", *load_controller(Path(options.run) / "world", "untrained-memory"))
    return Learnt(folder, load_policy(folder, "untrained-memory"))
