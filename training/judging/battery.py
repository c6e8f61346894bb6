"""A battery of policies, and its returns: in dreams, and in the real game, where stored ones are not played again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.acting.policies import EpsilonRandomPolicy, Policy, load_policy
from training.acting.rollout import dream_episodes, real_returns
from training.infra.packages import check_game
from training.infra.pool import Workers
from training.infra.worlds import check_controller
from training.judging.fidelity import Returns, StoredReturns, open_loop_battery
from training.judging.scoring import UNSEEN_DREAMS, VALIDATION_SEEDS
from wm_envs.games.base import Task
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import read_config


def battery(task: Task, source: Path, controllers: str, epsilons: Sequence[float] = ()) -> list[Policy]:
    """The open-loop policies of a game, and controllers of the world in `source`, also with some random steps.

    `controllers` is "all", "none" or names, comma separated; raises `UnknownName` for one that the world does not have.
    """
    there = list(read_config(source)["controllers"])
    names = {"all": there, "none": []}.get(controllers, controllers.split(","))
    for name in names:
        check_controller(source, name, "controllers")
    trained = [load_policy(source, name) for name in names]
    noisy = [EpsilonRandomPolicy(policy, epsilon) for policy in trained for epsilon in dict.fromkeys(epsilons)]
    return [*open_loop_battery(task), *trained, *noisy]


def dream_returns(world: WorldModel, policy: Policy, dreams: int, temperature: float) -> Returns:
    """The returns (dreams,) of a policy in dreams that no training uses."""
    return dream_episodes(world, policy, dreams, temperature, UNSEEN_DREAMS).returns[0]


def game_returns(
    folder: Path, world: WorldModel, policies: Sequence[Policy], episodes: int, workers: Workers,
    cache: Path | None = None, replay: bool = False,
) -> dict[str, Returns]:  # fmt: skip
    """The returns (episodes,) by the name of the policy: stored ones, or with `replay` none of these, and the others
    from the game, which go into the file `cache`."""
    stored = StoredReturns(world.task, world.config.frame_skip, VALIDATION_SEEDS, cache)
    found: dict[str, Returns] = {}
    if not replay:
        known = {policy.name: stored.get(policy, episodes) for policy in policies}
        found = {name: returns for name, returns in known.items() if returns is not None}
    missing = [policy for policy in policies if policy.name not in found]
    if missing:
        check_game(world.task)
    played = real_returns(folder, missing, [VALIDATION_SEEDS + i for i in range(episodes)], workers)
    if cache is not None:
        stored.keep({policy: played[policy.name] for policy in missing})
    return found | played
