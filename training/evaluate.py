"""Stage 5, evaluate: a controller in the real game, on seeds that nothing was chosen by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.episodes import real_episodes
from training.evolve import summary
from training.options import count, game_settings, stage_option
from training.policies import Bred, Policy, random_play
from training.pool import Workers
from wm_envs.files import write_text
from wm_envs.spaces import how_to_open
from wm_envs.tasks import get_task
from wm_envs.worlds import load_controller, read_config, resolve

TEST_SEEDS = 200_000


@dataclass
class EvaluateOptions:
    """Play a world's controller in the real game and report its score."""

    world: str = stage_option("takecover", "a shipped world's name or a folder")
    controller: str = stage_option("", "which of its controllers (default: the first), or 'random'")
    episodes: int = stage_option(100, "episodes to play")
    first_seed: int = stage_option(TEST_SEEDS, "seed of the first (validation: 100,000 up, test: 200,000 up)")
    workers: int = stage_option(0, "processes (0: one a core)")
    ray: str = stage_option("", "do it on a Ray cluster instead: its address, auto, or local to start one here")
    drawing: str = stage_option("", "how the game draws itself (default: as scores are measured)")
    settings: tuple[str, ...] = stage_option((), "of the game, NAME=NUMBER (CarRacing: lap_complete_percent=1)")
    scores: str = stage_option("", "file for every episode's score, as JSON (none: not written)")


def bred(world: str | Path, name: str = "") -> Bred:
    """A controller of a bundle as a policy."""
    config, parameters = load_controller(world, name)
    return Bred(name or "controller", config, tuple(parameters.tolist()))


def score(
    folder: Path, policy: Policy, seeds: list[int], workers: Workers, how: dict[str, Any]
) -> tuple[dict[str, float], list[float]]:
    """Summary of a policy's real episodes on `seeds`, with the share that reached the goal where the game has one, and
    the scores themselves."""
    played = real_episodes(folder, [policy], seeds, workers, how)[policy.name]
    scores = [episode.score for episode in played]
    found = summary(np.array(scores))
    if get_task(read_config(folder)["world"]["task"]).reward_unit:
        found["finished"] = sum(episode.finished for episode in played) / len(played)
    return found, scores


def main(options: EvaluateOptions) -> dict[str, Any]:
    """Mean, standard deviation, 95% interval, 10th percentile and, where there is a goal, the share that reached it."""
    count("episodes", options.episodes)
    count("first_seed", options.first_seed, 0)
    count("workers", options.workers, 0)
    folder = resolve(options.world)
    task = get_task(read_config(folder)["world"]["task"])
    policy = random_play(task) if options.controller == "random" else bred(folder, options.controller)
    how = how_to_open(task, options.drawing or None, game_settings(options.settings))
    seeds = list(range(options.first_seed, options.first_seed + options.episodes))
    found, scores = score(folder, policy, seeds, Workers(options.workers, options.ray), how)
    result = {"world": str(options.world), "controller": policy.name, "game": how} | found
    if options.scores:
        each = {str(seed): score for seed, score in zip(seeds, scores, strict=True)}
        write_text(Path(options.scores), json.dumps(result | {"scores": each}, indent=1) + "\n")
    return result
