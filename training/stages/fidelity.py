"""Whether the dream responds to actions as the game does.

A battery of policies plays the real game and the dream. A good world ranks them alike (Spearman) and gives each the
score that it has in the game (mean absolute log ratio).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.policies import (
    EpsilonRandomPolicy,
    OpenLoopPolicy,
    Policy,
    actor,
    load_policy,
    open_loop_policies,
)
from training.evaluation.rollout import dream_episodes, real_returns
from training.evaluation.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS, distance, spearman, summary
from training.infra.option_groups import WorkerOptions
from training.infra.options import check_options, read_record, stage_option
from training.infra.packages import check_game
from training.infra.pool import Workers
from training.infra.worlds import check_controller, find_folder
from wm_envs.files import write_json
from wm_envs.models.bundle import load_world, read_config


@dataclass
class FidelityOptions(WorkerOptions):
    """Compare the dream with the game, policy by policy."""

    world: str = stage_option("takecover", "a shipped world's name or a folder")
    controllers: str = stage_option("all", "controllers in the battery: all, none, or names, comma separated")
    controllers_of: str = stage_option("", "another world whose controllers to play (default: the same)")
    epsilons: tuple[float, ...] = stage_option(
        (), "also play each controller with these shares of random actions (0.2 0.5)", exclusive_minimum=0, maximum=1
    )
    episodes: int = stage_option(64, "real episodes per policy", minimum=2)
    dreams: int = stage_option(512, "dreams per policy", minimum=2)
    temperature: float = stage_option(1.0, "temperature of the dreams", exclusive_minimum=0)
    cache: str = stage_option("", "JSON file for the real returns of scripts, which do not depend on the world")


def main(options: FidelityOptions) -> dict[str, Any]:
    """Mean scores with intervals in both, Spearman's rank correlation, mean absolute log ratio."""
    check_options(options)
    folder = find_folder(options.world)
    source = find_folder(options.controllers_of) if options.controllers_of else folder
    world = load_world(folder)
    check_game(world.task)
    there = list(read_config(source)["controllers"])
    names = {"all": there, "none": []}.get(options.controllers, options.controllers.split(","))
    for name in names:
        check_controller(source, name, "controllers")
    trained = [load_policy(source, name) for name in names]
    noisy = [EpsilonRandomPolicy(policy, epsilon) for policy in trained for epsilon in dict.fromkeys(options.epsilons)]
    battery: list[Policy] = [*open_loop_policies(world.task), *trained, *noisy]
    seeds = [VALIDATION_SEEDS + i for i in range(options.episodes)]
    real = _real(options, folder, battery, seeds)
    rows: list[dict[str, Any]] = []
    for policy in battery:
        act, observation = actor(policy, world.task, list(range(options.dreams)), world.config.frame_skip)
        dreams = dream_episodes(world, act, observation, 1, options.dreams, options.temperature, UNSEEN_DREAMS)
        rows.append({"policy": policy.name, "real": summary(real[policy.name]), "dream": summary(dreams.returns[0])})
    means = np.array([[row["real"]["mean"], row["dream"]["mean"]] for row in rows])
    for row in rows:
        print(
            f"{row['policy']:>22}  real {row['real']['mean']:7.0f} +- {row['real']['interval']:4.0f}"
            f"  dream {row['dream']['mean']:7.0f} +- {row['dream']['interval']:4.0f}"
        )
    found = distance(world.task, means)
    return {
        "spearman": spearman(means[:, 0], means[:, 1]),
        found.measure: found.value,
        "temperature": options.temperature,
        "policies": rows,
    }


def _real(options: FidelityOptions, folder: Path, battery: list[Policy], seeds: list[int]) -> dict[str, NDArray[Any]]:
    """Real returns of the battery; those of scripts come from the cache if it has them."""
    path = Path(options.cache) if options.cache else None
    skip = load_world(folder).config.frame_skip
    known = read_record(path) if path and path.exists() else {}
    key = {policy.name: f"{policy.name}/{skip}/{seeds[0]}/{len(seeds)}" for policy in battery}
    missing = [policy for policy in battery if key[policy.name] not in known or not isinstance(policy, OpenLoopPolicy)]
    found = real_returns(folder, missing, seeds, Workers(options.workers, options.ray))
    for policy in missing:
        if isinstance(policy, OpenLoopPolicy):
            known[key[policy.name]] = found[policy.name].tolist()
    if path:
        write_json(path, known)
    return {p.name: found[p.name] if p.name in found else np.array(known[key[p.name]]) for p in battery}
