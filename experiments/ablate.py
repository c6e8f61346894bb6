"""Ablation of the features: the same learner, budget and seeds, with less and less to observe.

All controllers are trained in the real game, where the errors of a dream cannot help: on [z, h] and on z alone, with a
hidden layer and linear, and on z with the h of an untrained M. Random play is the baseline. (Ha and Schmidhuber compare
z alone, with and without a hidden layer, and the full model in their table of CarRacing scores.)
"""

from __future__ import annotations

import functools
from typing import Any

from pydantic import Field

from experiments.tables import Table, TableCommand, Trained, untrained_memory
from training.acting.policies import load_policy, random_policy
from training.config.base import Count
from training.infra.run_folder import RoundFolder, RunFolder
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


class Command(TableCommand):
    """Train controllers in the real game on each kind of features of a world, and play them on the test seeds."""

    steps: Count = Field(400_000, description="steps of PPO in the real game per row")
    validate_every: Count = Field(48, description="updates between validations in the real game")


def main(command: Command) -> dict[str, Any]:
    """Rows of the table `ablations`."""
    command.check_comparable()
    with Table("ablations", command) as table:
        untrained = RunFolder(table.round.path / "untrained").round(0)
        save_world(untrained.world, untrained_memory(table.world, command.seed), {"memory": "untrained"})
        for row, (observation, hidden, trained) in SEEN.items():
            folder = table.round if trained else untrained
            table.row(row, functools.partial(_train, table, command, folder, observation, hidden))
        table.row("random play", lambda: Trained(table.round.world, random_policy(table.world.task)))
        return table.finish()


def _train(table: Table, command: Command, folder: RoundFolder, observation: str, hidden: bool) -> Trained:
    """A controller that is trained in the real game on what it observes."""
    name = f"ablation-{observation}-{'hidden' if hidden else 'linear'}"
    config = ppo.IN_THE_GAME.replace(
        total_timesteps=command.steps,
        observation=observation,
        hidden_sizes=command.hidden_sizes if hidden else (),
        validate_every=command.validate_every,
        validate_episodes=command.validate_episodes,
    )
    place = table.place() | {"run": folder.run.path, "round": folder.number}
    ppo.main(ppo.Command(**place, name=name, train_in="game", config=config))
    return Trained(folder.world, load_policy(folder.world, name))
