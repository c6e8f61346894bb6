"""Play a controller in the real game on the test seeds, which no choice depends on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from training.acting.policies import load_policy, random_policy
from training.infra.option_groups import WorkerOptions, check_setting, game_settings
from training.infra.options import check_options, stage_option
from training.infra.packages import check_game
from training.infra.pool import Workers
from training.infra.records import write_result
from training.infra.worlds import check_controller, find_folder
from training.judging.scoring import TEST_SEEDS, Evaluation
from training.judging.validation import game_score
from wm_envs.envs.checks import game_kwargs
from wm_envs.errors import InvalidOption
from wm_envs.games.base import Task
from wm_envs.games.registry import get_task
from wm_envs.worlds.bundle import read_config


@dataclass
class EvaluateOptions(WorkerOptions):
    """Play a controller of a world in the real game and report its score."""

    world: str = stage_option("takecover", "a shipped world's name or a folder")
    controller: str = stage_option("", "name of the controller (default: the first), or 'random'")
    episodes: int = stage_option(100, "episodes to play", minimum=1)
    first_seed: int = stage_option(
        TEST_SEEDS, "seed of the first episode (validation: from 100,000, test: from 200,000)", minimum=0
    )
    renderer: str = stage_option("", "renderer of the game (default: the one that scores are measured with)")
    settings: tuple[str, ...] = stage_option(
        (), "settings of the game, NAME=NUMBER (CarRacing: lap_complete_percent=1)", check=check_setting
    )
    scores: str = stage_option("", "JSON file for the score of every episode (default: none)")


def check_score(task: Task, settings: dict[str, float]) -> None:
    """Raises `InvalidOption` for a setting that changes the reward, so that every score is the game's own."""
    for name in set(settings) & set(task.penalties):
        expected = "settings that leave the reward as it is"
        raise InvalidOption("settings", f"{name}={settings[name]:g}", expected, f"omit {name}: it is for training only")


def main(options: EvaluateOptions) -> Evaluation:
    """Mean, standard deviation, 95% interval, 10th percentile and, in a game with a goal, the share that reaches it."""
    check_options(options)
    folder = find_folder(options.world)
    task = get_task(read_config(folder)["world"]["task"])
    check_game(task)
    if options.controller != "random":
        check_controller(folder, options.controller)
    policy = random_policy(task) if options.controller == "random" else load_policy(folder, options.controller)
    settings = game_settings(options.settings)
    check_score(task, settings)
    game = game_kwargs(task, options.renderer or None, settings)
    seeds = list(range(options.first_seed, options.first_seed + options.episodes))
    score, returns = game_score(folder, policy, seeds, Workers(options.workers, options.ray), game)
    result = Evaluation(
        **vars(score), world=str(options.world), controller=policy.name, game=game, first_seed=options.first_seed
    )
    if options.scores:
        scores = dict(zip(map(str, seeds), returns.tolist(), strict=True))
        write_result(Path(options.scores), dataclasses.replace(result, scores=scores))
    return result
