"""Ablation of the features: the same learner, budget and seeds, with less and less to observe.

All controllers are trained in the real game, where the errors of a dream cannot help: on [z, h] and on z alone, with a
hidden layer and linear, and on z with the h of an untrained M. Random play is the baseline. (Ha and Schmidhuber compare
z alone, with and without a hidden layer, and the full model in their table of CarRacing scores.)
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from experiments.tables import Table, TableOptions, Trained, untrained_memory
from training.acting.policies import load_policy, random_policy
from training.infra.options import check_options, stage_option
from training.infra.run_folder import RoundFolder
from training.stages import ppo
from wm_envs.worlds.bundle import save_world

SEEN = {  # row of the table -> what C observes, whether it has hidden layers, whether M is trained
    "z and h, hidden layer": ("zh", True, True),
    "z and h, linear": ("zh", False, True),
    "z, hidden layer": ("z", True, True),
    "z, linear": ("z", False, True),
    "z and the h of an untrained M, hidden layer": ("zh", True, False),
    "z and the h of an untrained M, linear": ("zh", False, False),
}


@dataclass
class AblateOptions(TableOptions):
    """Train controllers in the real game on each kind of features of a world, and play them on the test seeds."""

    steps: int = stage_option(400_000, "steps of PPO in the real game per row", identity=True, minimum=1)
    validate_every: int = stage_option(48, "updates between validations in the real game", identity=True, minimum=1)

    def check(self) -> None:
        """Raises `InvalidOption` without validation or without a hidden layer."""
        super().check()
        self.needs_validation()
        self.needs_hidden_layer()


def main(options: AblateOptions) -> dict[str, Any]:
    """Rows of the table `ablations`."""
    check_options(options)
    with Table("ablations", options) as table:
        untrained = table.round.untrained.round(0)
        save_world(untrained.world, untrained_memory(table.world, options.seed), {"memory": "untrained"})
        for row, (observation, hidden, trained) in SEEN.items():
            folder = table.round if trained else untrained
            table.row(row, functools.partial(_train, options, folder, observation, hidden))
        table.row("random play", lambda: Trained(table.round.world, random_policy(table.world.task)))
        return table.finish()


def _train(options: AblateOptions, folder: RoundFolder, observation: str, hidden: bool) -> Trained:
    """A controller that is trained in the real game on what it observes."""
    name = f"ablation-{observation}-{'hidden' if hidden else 'linear'}"
    where = {"run": folder.run.path, "round": folder.number}
    ppo.main(ppo.PpoOptions(
        name=name, total_timesteps=options.steps, observation=observation,
        hidden_sizes=tuple(options.hidden_sizes) if hidden else (), validate_every=options.validate_every,
        **ppo.IN_THE_GAME, **options.shared() | where,
    ))  # fmt: skip
    return Trained(folder.world, load_policy(folder.world, name))
