"""Speed of CarRacing's renderers, as ratios from one run on one core: `python benchmarks/car_racing.py [--json]`.

exact_over_stock     the picture of Gymnasium's CarRacing-v3, byte for byte (target 4, at least 2)
fast_over_stock      V's 64x64 frame (target 25, at least 15)
fast_over_envpool    over envpool's CarRacing in C++, if installed (pip install envpool)
physics              the game without drawing, the upper limit for all but envpool

A step is one tick of 1/50 s with its frame; resets are not counted. All variants play the same episodes with the same
actions, from a driver that knows the track. (Envpool has other tracks, where these actions soon leave the road.) A
rate is steps per second of processor time, the median of several rounds, with the variants in turn.

--pairs FILE.png writes frames side by side (stock, cropped and resized for V; fast; four times their difference),
and prints the mean absolute error per pixel (0 to 255) over driven episodes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wm_envs.games.car_racing.dependencies import CarRacing
from wm_envs.games.car_racing.fast_car_racing import FastCarRacing
from wm_envs.games.car_racing.scene import crop

Actions = NDArray[np.float32]  # (T, 3)
Step = Callable[[Actions], Any]


def steer_along(env: CarRacing, ahead: int = 6, speed: float = 60.0) -> Actions:
    """An action (3,) towards the tile `ahead` of the nearest one, at a speed of at most `speed` units/s."""
    assert env.car is not None
    hull = env.car.hull
    road = np.array(env.track)[:, 2:4] - hull.position  # relative to the car
    x, y = road[(int((road**2).sum(axis=1).argmin()) + ahead) % len(road)]
    turn = math.remainder(math.atan2(y, x) - math.pi / 2 - hull.angle, 2 * math.pi)
    wanted, now = speed / (1 + 2 * abs(turn)), hull.linearVelocity.length
    return np.array([np.clip(-2 * turn, -1, 1), 0.5 * (now < wanted), 0.3 * (now > 1.3 * wanted)], np.float32)


def driven(seed: int, steps: int, sloppiness: float = 0.3) -> Actions:
    """The driver's actions (T, 3) in the episode of `seed`, with noise on the steering, for at most `steps` ticks."""
    env, rng = FastCarRacing("fast"), np.random.default_rng(seed)
    env.reset(seed=seed)
    actions: list[Actions] = []
    terminated = False
    while not terminated and len(actions) < steps:
        action = steer_along(env)
        action[0] = np.clip(action[0] + sloppiness * rng.standard_normal(), -1, 1)
        actions.append(action)
        terminated = env.tick(action, drawn=False)[2]
    return np.array(actions)


def pixel_errors(seeds: range, steps: int) -> tuple[NDArray[np.float64], list[NDArray[np.uint8]]]:
    """Mean absolute error of each frame (0 to 255), and some frames as rows of stock, fast, 4 x difference."""
    stock, fast, errors, pairs = CarRacing(), FastCarRacing("fast"), [], []
    for seed in seeds:
        observation, frame = stock.reset(seed=seed)[0], fast.reset(seed=seed)[0]
        for tick, action in enumerate(driven(seed, steps)):
            reference = crop(observation)
            difference = np.abs(reference.astype(int) - frame)
            errors.append(difference.mean())
            if tick in (0, 10, 30) or tick % 100 == 60:
                pairs.append(np.hstack([reference, frame, np.minimum(4 * difference, 255).astype(np.uint8)]))
            observation, frame = stock.step(action)[0], fast.step(action)[0]
    return np.array(errors), pairs


def write_pairs(file: Path, pairs: list[NDArray[np.uint8]], columns: int = 3, scale: int = 3) -> None:
    """Write all pairs as one PNG."""
    pairs = pairs + [np.zeros_like(pairs[0])] * (-len(pairs) % columns)
    sheet = np.vstack([np.hstack(pairs[i : i + columns]) for i in range(0, len(pairs), columns)])
    sheet = cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    if not cv2.imwrite(str(file), sheet[..., ::-1]):
        raise OSError(f"cannot write {file}")


def envpool_step() -> Step | None:
    """A function that steps one envpool game on one thread; None if envpool is not installed."""
    try:
        import envpool
    except ImportError:
        return None
    name = sorted(name for name in envpool.list_all_envs() if name.startswith("CarRacing-v"))[-1]
    pool = envpool.make_gymnasium(name, num_envs=1, num_threads=1, seed=0)
    pool.reset()
    return lambda action: pool.step(action[None])


def rate(step: Step, actions: Actions) -> float:
    """Steps per second of processor time, of all threads."""
    start = time.process_time()
    for action in actions:
        step(action)
    return len(actions) / (time.process_time() - start)


def measure(rounds: int, steps: int) -> dict[str, float | None]:
    """All rates and ratios."""
    games: dict[str, CarRacing] = {
        "stock": CarRacing(),
        "exact": FastCarRacing("exact"),
        "fast": FastCarRacing("fast"),
        "physics": FastCarRacing("fast"),
    }
    stepping: dict[str, Step] = {name: game.step for name, game in games.items()}
    stepping["physics"] = lambda action: games["physics"].tick(action, drawn=False)  # type: ignore[attr-defined]
    envpool_game = envpool_step()
    if envpool_game:
        stepping["envpool"] = envpool_game
    rates: dict[str, list[float]] = {name: [] for name in stepping}
    for seed in range(rounds):
        actions = driven(seed, steps)
        for name, step in stepping.items():
            if name in games:
                games[name].reset(seed=seed)
            rates[name].append(rate(step, actions))
    median = {name: statistics.median(values) for name, values in rates.items()}
    return {
        **{f"{name}_steps_per_second": round(value) for name, value in median.items()},
        "exact_over_stock": median["exact"] / median["stock"],
        "fast_over_stock": median["fast"] / median["stock"],
        "fast_over_envpool": median["fast"] / median["envpool"] if envpool_game else None,
    }


def main() -> None:
    """Print a table, or one line of JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="episodes")
    parser.add_argument("--steps", type=int, default=1000, help="maximum ticks of an episode")
    parser.add_argument("--pairs", type=Path, help="write frames of stock and fast side by side instead of the rates")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    result: dict[str, Any]
    if options.pairs:
        errors, pairs = pixel_errors(range(options.rounds), options.steps)
        write_pairs(options.pairs, pairs)
        result = {"frames": len(errors), "pixel_error": errors.mean(), "pixel_error_worst_frame": errors.max()}
    else:
        result = measure(options.rounds, options.steps)
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:>36}: " + ("not installed" if value is None else f"{value:,.2f}"))


if __name__ == "__main__":
    main()
