"""Play a controller in the real game on the test seeds, which no choice depends on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from pydantic import Field

from training.acting.policies import load_policy, random_policy
from training.config.base import FLAT, Config, Count, Natural, Text
from training.config.commands import Command as BaseCommand
from training.config.commands import Machine, Settings, game_settings
from training.infra.packages import check_game
from training.infra.records import write_result
from training.infra.worlds import check_controller, find_folder
from training.judging.scoring import TEST_SEEDS, Evaluation
from training.judging.validation import game_score
from wm_envs.envs.checks import game_kwargs
from wm_envs.errors import InvalidOption
from wm_envs.games.base import Keywords, Task
from wm_envs.games.registry import get_task
from wm_envs.worlds.bundle import read_config


class EvaluateConfig(Config):
    """How a controller is evaluated."""

    episodes: Count = Field(100, description="episodes to play")
    first_seed: Natural = Field(
        TEST_SEEDS, description="seed of the first episode (validation: from 100,000, test: from 200,000)"
    )
    renderer: Text = Field("", description="renderer of the game (default: the one that scores are measured with)")
    settings: Settings = Field((), description="settings of the game, NAME=NUMBER (CarRacing: lap_complete_percent=1)")

    def check_for(self, task: Task) -> Keywords:
        """The keywords with which the game is opened; raises `InvalidOption` for those that it does not have, or that
        change its reward: every score is the game's own."""
        settings = game_settings(self.settings)
        for name in set(settings) & set(task.penalties):
            fix = f"omit {name}: it is for training only"
            raise InvalidOption(
                "settings", f"{name}={settings[name]:g}", "settings that leave the reward as it is", fix
            )
        return game_kwargs(task, self.renderer or None, settings)


class Command(BaseCommand, Machine):
    """Play a controller of a world in the real game and report its score."""

    world: str = Field("takecover", description="a shipped world's name or a folder")
    controller: Text = Field("", description="name of the controller (default: the first), or 'random'")
    scores: Text = Field("", description="JSON file for the score of every episode (default: none)")
    config: Annotated[EvaluateConfig, FLAT] = EvaluateConfig()


def main(command: Command) -> Evaluation:
    """Mean, standard deviation, 95% interval, 10th percentile and, in a game with a goal, the share that reaches it."""
    folder, config = find_folder(command.world), command.config
    task = get_task(read_config(folder)["world"]["task"])
    check_game(task)
    if command.controller != "random":
        check_controller(folder, command.controller)
    policy = random_policy(task) if command.controller == "random" else load_policy(folder, command.controller)
    game = config.check_for(task)
    seeds = list(range(config.first_seed, config.first_seed + config.episodes))
    score, returns = game_score(folder, policy, seeds, command.pool, game)
    result = Evaluation(
        **vars(score), world=command.world, controller=policy.name, game=game, first_seed=config.first_seed
    )
    if command.scores:
        scores = dict(zip(map(str, seeds), returns.tolist(), strict=True))
        write_result(Path(command.scores), dataclasses.replace(result, scores=scores))
    return result
