"""Fidelity: does the dream answer to what one does as the game does? The measure that counts.

A battery of policies is played in the real game and in the dream. A good world ranks them alike
(Spearman) and gives each the lifetime it has in the game (mean absolute log ratio).
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
from training.infra.options import count, positive, read_record, stage_option
from training.infra.pool import Workers
from wm_envs.errors import InvalidOption
from wm_envs.files import write_json
from wm_envs.models.bundle import load_world, read_config, resolve


@dataclass
class FidelityOptions:
    """Compare the dream with the game, policy by policy."""

    world: str = stage_option("takecover", "a shipped world's name or a folder")
    controllers: str = stage_option("all", "bred controllers in the battery: all, none, or names, comma separated")
    controllers_of: str = stage_option("", "another world whose controllers to play (default: the same)")
    epsilons: tuple[float, ...] = stage_option((), "each of them again with such a share of its steps random (0.2 0.5)")
    episodes: int = stage_option(64, "real episodes of each policy")
    dreams: int = stage_option(512, "dreams of each policy")
    temperature: float = stage_option(1.0, "of the dreams")
    workers: int = stage_option(0, "processes for the real game (0: one a core)")
    ray: str = stage_option("", "do it on a Ray cluster instead: its address, auto, or local to start one here")
    cache: str = stage_option("", "JSON file of real returns of scripts, which do not depend on the world's weights")


def main(options: FidelityOptions) -> dict[str, Any]:
    """Mean lifetimes with intervals in both, Spearman's rank correlation, mean absolute log ratio."""
    for name in ("episodes", "dreams"):
        count(name, getattr(options, name), 2)
    positive("temperature", options.temperature)
    for epsilon in options.epsilons:
        if positive("epsilons", epsilon) > 1:
            raise InvalidOption("epsilons", epsilon, "shares above 0 and up to 1", "give --epsilons 0.2 0.5, say")
    folder = resolve(options.world)
    world = load_world(folder)
    source = resolve(options.controllers_of) if options.controllers_of else folder
    there = list(read_config(source)["controllers"])
    names = {"all": there, "none": []}.get(options.controllers, options.controllers.split(","))
    learnt = [load_policy(source, name) for name in names]
    slipping = [
        EpsilonRandomPolicy(policy, epsilon) for policy in learnt for epsilon in dict.fromkeys(options.epsilons)
    ]
    battery: list[Policy] = [*open_loop_policies(world.task), *learnt, *slipping]
    seeds = [VALIDATION_SEEDS + i for i in range(options.episodes)]
    real = _real(options, folder, battery, seeds)
    rows = []
    for policy in battery:
        act, observation = actor(policy, world.task, list(range(options.dreams)), world.config.frame_skip)
        dreams = dream_episodes(world, act, observation, 1, options.dreams, options.temperature, UNSEEN_DREAMS)
        rows.append({"policy": policy.name, "real": summary(real[policy.name]), "dream": summary(dreams.returns[0])})
    means = np.array([[row["real"]["mean"], row["dream"]["mean"]] for row in rows])  # type: ignore[index]
    for row in rows:
        print(
            f"{row['policy']:>22}  real {row['real']['mean']:7.0f} +- {row['real']['interval']:4.0f}"  # type: ignore[index]
            f"  dream {row['dream']['mean']:7.0f} +- {row['dream']['interval']:4.0f}"  # type: ignore[index]
        )
    found = distance(world.task, means)
    return {
        "spearman": spearman(means[:, 0], means[:, 1]),
        found.measure: found.value,
        "temperature": options.temperature,
        "policies": rows,
    }


def _real(options: FidelityOptions, folder: Path, battery: list[Policy], seeds: list[int]) -> dict[str, NDArray[Any]]:
    """Real returns of the battery, those of scripts from the cache when they are there."""
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
