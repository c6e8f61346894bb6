"""What of the world a driver needs: the same learner, budget and seeds, given less and less to see.

All learn in the real game, where none can profit from what a dream gets wrong: on [z, h] and on z alone, with a
hidden layer and linear, and on z with the h of an M that never learnt. Random play stands beside them. (Ha and
Schmidhuber compare z alone, with and without a hidden layer, and the full model in their table of CarRacing scores.)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluation.policies import load_policy, random_policy
from training.infra.options import count, stage_option
from training.pipelines.tables import Learnt, Table, TableOptions, untrained_memory
from training.stages import ppo
from wm_envs.models.bundle import save_world

SEEN = {  # row of the table -> what C observes, whether it has hidden layers, whether M has learnt
    "z and h, hidden layer": ("zh", True, True),
    "z and h, linear": ("zh", False, True),
    "z, hidden layer": ("z", True, True),
    "z, linear": ("z", False, True),
    "z and the h of an untrained M, hidden layer": ("zh", True, False),
    "z and the h of an untrained M, linear": ("zh", False, False),
}


@dataclass
class AblateOptions(TableOptions):
    """Learn in the real game on each kind of features of RUN/world; all are played on the test seeds."""

    run: Path = stage_option("runs/carracing", "run folder with a world")
    steps: int = stage_option(400_000, "steps of PPO in the real game, each", True)
    validate_every: int = stage_option(48, "updates between validations in the real game", True)


def main(options: AblateOptions) -> dict[str, Any]:
    """Rows of the table, which are also kept in RUN/ablations."""
    options.checked()
    for name in ("steps", "validate_every", "validate_episodes"):
        count(name, getattr(options, name))
    options.needs_units()
    run = Path(options.run)
    with Table("ablations", options) as table:
        blank = untrained_memory(table.world, options.seed)
        save_world(run / "untrained" / "world", blank, {"memory": "untrained, for an ablation"})
        for row, (observation, hidden, trained) in SEEN.items():
            where = run if trained else run / "untrained"
            table.row(row, functools.partial(_learn, options, where, observation, hidden))
        table.row("random", lambda: Learnt(run / "world", random_policy(table.world.task)))
        return table.finish()


def _learn(options: AblateOptions, where: Path, observation: str, hidden: bool) -> Learnt:
    """A driver that learns in the real game on what it observes."""
    name = f"ablation-{observation}-{'hidden' if hidden else 'linear'}"
    ppo.main(ppo.PpoOptions(
        run=where, name=name, total_timesteps=options.steps, observation=observation,
        hidden_sizes=tuple(options.hidden_sizes) if hidden else (), validate_every=options.validate_every,
        **ppo.IN_THE_GAME, **options.shared(),
    ))  # fmt: skip
    return Learnt(where / "world", load_policy(where / "world", name))
