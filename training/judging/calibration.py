"""Calibrate the termination probability: players live as long in the dream as in the game.

`memory` calibrates the end on recorded episodes. In a dream M reads its own samples, in which what kills can fade, so
players live too long. The calibration plays open-loop policies, and controllers if they are named. It moves the logit
of the end by the mean of log(dream / game) of their times, until that mean is about 0. Policies that `fidelity` holds
out are not played. The shift is the world's `termination_shift`, in config.json; weights, features and controllers
stay.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.infra.pool import Workers
from training.judging.battery import full_battery
from training.judging.fidelity import is_held_out
from training.judging.returns import dream_returns, game_returns
from wm_envs.errors import InvalidOption
from wm_envs.files import file_lock, write_json
from wm_envs.worlds.bundle import PRETRAINED, load_world, read_config

CLOSE = 0.01  # mean log ratio at which the search ends
FARTHEST = 3.0  # limit of the shift, in logits


@dataclass(frozen=True)
class Calibration:
    """The shift of the logit of the end that a world has now."""

    termination_shift: float
    mean_log_ratios: tuple[float, ...]  # of dream and game, one for each iteration
    policies: int  # that were played


def calibrate_end(
    folder: Path,
    temperature: float,
    workers: Workers,
    controllers: str = "none",
    episodes: int = 200,
    dreams: int = 128,
    iterations: int = 4,
) -> Calibration:
    """Find the shift for the world in `folder` and write it there; returns it, and the mean log ratio of every
    iteration.

    `controllers` play beside the open-loop policies: all, none, or names, comma separated. Each policy plays `episodes`
    of the game and so many `dreams`. Raises `InvalidOption` for a shipped world, and for a game that is not one of
    survival.
    """
    if folder.parent == PRETRAINED:
        raise InvalidOption("world", folder, "a folder of your own", "copy it first, with publish --to FOLDER")
    world = load_world(folder)
    if not world.task.rewards.survival:
        fix = "use it for Take Cover and other games that pay for each tick"
        raise InvalidOption("world", world.task.title, "a world of a game of survival", fix)
    policies = [p for p in full_battery(world.task, folder, controllers) if not is_held_out(p.name)]
    real = game_returns(folder, world, policies, episodes, workers)
    shift, tries = world.config.termination_shift, []
    for number in range(iterations):
        tried = world.share(dataclasses.replace(world.config, termination_shift=shift))
        lived = [dream_returns(tried, policy, dreams, temperature).mean() for policy in policies]
        logs = [np.log(dream / real[policy.name].mean()) for dream, policy in zip(lived, policies, strict=True)]
        tries.append((shift, float(np.mean(logs))))
        print(f"iteration {number}: shift {shift:.3f}, mean log ratio {tries[-1][1]:+.3f}", flush=True)
        if abs(tries[-1][1]) < CLOSE:
            break
        shift = next_shift(tries)
    with file_lock(folder / "config.json", wait=True):
        bundle = read_config(folder)
        bundle["world"]["termination_shift"] = shift
        write_json(folder / "config.json", bundle)
    return Calibration(shift, tuple(bias for _, bias in tries), len(policies))


def next_shift(tries: list[tuple[float, float]]) -> float:
    """The shift to try next, from the (shift, mean log ratio) so far: by the secant of the last two.

    Where M is sure of most ends, a shift of 1 moves the logarithm of a time by much less than 1.
    """
    (shift, bias), slope = tries[-1], -1.0
    if len(tries) > 1 and shift != tries[-2][0]:
        slope = float(np.clip((bias - tries[-2][1]) / (shift - tries[-2][0]), -2.0, -0.15))
    return float(np.clip(shift - bias / slope, -FARTHEST, FARTHEST))
