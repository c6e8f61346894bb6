"""Stage 5, evaluate: a controller in the real game, on seeds that nothing was chosen by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluation.policies import load_policy, random_policy
from training.evaluation.scoring import TEST_SEEDS
from training.evaluation.validation import score
from training.infra.options import count, game_settings, stage_option
from training.infra.pool import Workers
from wm_envs.envs.spaces import game_kwargs
from wm_envs.files import write_text
from wm_envs.games.registry import get_task
from wm_envs.models.bundle import read_config, resolve


@dataclass
class EvaluateOptions:
    """Play a world's controller in the real game and report its score."""

    world: str = stage_option("takecover", "a shipped world's name or a folder")
    controller: str = stage_option("", "which of its controllers (default: the first), or 'random'")
    episodes: int = stage_option(100, "episodes to play")
    first_seed: int = stage_option(TEST_SEEDS, "seed of the first (validation: 100,000 up, test: 200,000 up)")
    workers: int = stage_option(0, "processes (0: one a core)")
    ray: str = stage_option("", "do it on a Ray cluster instead: its address, auto, or local to start one here")
    renderer: str = stage_option("", "how the game draws itself (default: as scores are measured)")
    settings: tuple[str, ...] = stage_option((), "of the game, NAME=NUMBER (CarRacing: lap_complete_percent=1)")
    scores: str = stage_option("", "file for every episode's score, as JSON (none: not written)")


def main(options: EvaluateOptions) -> dict[str, Any]:
    """Mean, standard deviation, 95% interval, 10th percentile and, where there is a goal, the share that reached it."""
    count("episodes", options.episodes)
    count("first_seed", options.first_seed, 0)
    count("workers", options.workers, 0)
    folder = resolve(options.world)
    task = get_task(read_config(folder)["world"]["task"])
    policy = random_policy(task) if options.controller == "random" else load_policy(folder, options.controller)
    how = game_kwargs(task, options.renderer or None, game_settings(options.settings))
    seeds = list(range(options.first_seed, options.first_seed + options.episodes))
    found, scores = score(folder, policy, seeds, Workers(options.workers, options.ray), how)
    result = {"world": str(options.world), "controller": policy.name, "game": how} | found
    if options.scores:
        each = {str(seed): score for seed, score in zip(seeds, scores, strict=True)}
        write_text(Path(options.scores), json.dumps(result | {"scores": each}, indent=1) + "\n")
    return result
