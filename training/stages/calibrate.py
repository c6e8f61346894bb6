"""Shift M's probability of the end so that players live as long in the dream as in the game.

`memory` calibrates the end on recorded episodes. In a dream M reads its own samples, in which what kills can fade, so
players live too long. This stage plays open-loop policies, with `--controllers` also those that learned in the dream,
and moves the logit of the end by the mean of log(dream / game) of their times, until it is about 0. Policies that
`fidelity` holds out are not looked at. The shift is the world's `termination_shift`, in config.json; the weights, the
features and the controllers stay.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from training.infra.option_groups import WorkerOptions
from training.infra.options import check_options, stage_option
from training.infra.pool import Workers
from training.infra.worlds import find_folder
from training.judging.battery import full_battery
from training.judging.fidelity import is_held_out
from training.judging.returns import dream_returns, game_returns
from wm_envs.errors import InvalidOption
from wm_envs.files import file_lock, write_json
from wm_envs.worlds.bundle import load_world, read_config, shipped_worlds

CLOSE = 0.01  # mean log ratio at which the search ends
FARTHEST = 3.0  # limit of the shift, in logits


@dataclass
class CalibrateOptions(WorkerOptions):
    """Make players live as long in a world's dream as in its game."""

    world: str = stage_option("", "folder of the world, which is changed")
    controllers: str = stage_option(
        "none", "controllers that play beside the open-loop policies: all, none, or names, comma separated"
    )
    temperature: float = stage_option(1.0, "temperature of the dreams", exclusive_minimum=0)
    episodes: int = stage_option(200, "real episodes per policy", minimum=2)
    dreams: int = stage_option(128, "dreams per policy", minimum=2)
    rounds: int = stage_option(4, "most rounds of dreams", minimum=1)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The shift of the logit of the end, and how the search came to it."""

    termination_shift: float
    mean_log_ratios: tuple[float, ...]  # of each round
    policies: int  # that played


def main(options: CalibrateOptions) -> Calibration:
    """Find the shift and write it; returns it, and the mean log ratio of every round."""
    check_options(options)
    if options.world in shipped_worlds():
        raise InvalidOption("world", options.world, "a folder of your own", "copy it first, with publish --to FOLDER")
    folder = find_folder(options.world)
    world = load_world(folder)
    if not world.task.rewards.survival:
        fix = "use it for Take Cover and other games that pay for each tick"
        raise InvalidOption("world", world.task.title, "a world of a game of survival", fix)
    battery = full_battery(world.task, folder, options.controllers)
    policies = [policy for policy in battery if not is_held_out(policy.name)]
    real = game_returns(folder, world, policies, options.episodes, Workers(options.workers, options.ray))
    shift, tries = world.config.termination_shift, []
    for number in range(options.rounds):
        tried = world.share(dataclasses.replace(world.config, termination_shift=shift))
        lived = [dream_returns(tried, policy, options.dreams, options.temperature).mean() for policy in policies]
        logs = [np.log(dream / real[policy.name].mean()) for dream, policy in zip(lived, policies, strict=True)]
        tries.append((shift, float(np.mean(logs))))
        print(f"round {number}: shift {shift:.3f}, mean log ratio {tries[-1][1]:+.3f}", flush=True)
        if abs(tries[-1][1]) < CLOSE:
            break
        shift = next_shift(tries)
    with file_lock(folder / "config.json", wait=True):
        bundle = read_config(folder)
        bundle["world"]["termination_shift"] = shift
        write_json(folder / "config.json", bundle)
    ratios = tuple(ratio for _, ratio in tries)
    return Calibration(termination_shift=shift, mean_log_ratios=ratios, policies=len(policies))


def next_shift(tries: list[tuple[float, float]]) -> float:
    """The shift to try next, from the (shift, mean log ratio) so far: by the secant of the last two.

    Where M is sure of most ends, a shift of 1 moves the logarithm of a time by much less than 1.
    """
    (shift, bias), slope = tries[-1], -1.0
    if len(tries) > 1 and shift != tries[-2][0]:
        slope = float(np.clip((bias - tries[-2][1]) / (shift - tries[-2][0]), -2.0, -0.15))
    return float(np.clip(shift - bias / slope, -FARTHEST, FARTHEST))
