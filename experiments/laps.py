"""Laps in the dream and in the game, driver by driver: `python -m experiments.laps WORLD [--controllers NAME ...]`.

The world's M must see the progress (`memory --progress`). For each driver: how many laps end, the mean ticks of a lap
that ends, the share of the track's tiles that is visited in an episode, and the return. A dreamt lap counts as ended
when M ends the episode with at least `NEAR` of the tiles visited; any other end is a car that has left the field.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from experiments.scripts import run_script, script_parser
from training.acting.rollout import TILE, max_steps
from training.judging.scoring import VALIDATION_SEEDS, Score
from wm_envs.envs.dreams import Dreams
from wm_envs.envs.engine import Engine
from wm_envs.envs.latent_games import LatentGames
from wm_envs.models.controller import ControllerConfig, act
from wm_envs.models.world_model import WorldModel
from wm_envs.worlds.bundle import load_world, read_config, read_controller, resolve

NEAR = 0.97  # of the tiles


def drive(engine: Engine, driver: tuple[ControllerConfig, Any], steps: int) -> dict[str, np.ndarray]:
    """One episode in each environment of `engine`, which is reset: ticks, progress, return and end, (B,) each."""
    config, parameters = driver
    found = {name: np.zeros(len(engine.running)) for name in ("ticks", "progress", "returns", "ended")}
    for _ in range(steps):
        running = engine.running.copy()
        if not running.any():
            break
        actions = act(config, parameters, engine.observe(config.observation))
        result = engine.step(engine.world.task.actions.to_game(actions.numpy()))
        found["returns"][running] += result.rewards[running]
        found["ticks"][running] = engine.state.ticks.numpy()[running]
        found["progress"][running] = engine.state.progress.numpy()[running]
        found["ended"][running] = result.terminated[running]
    return found


def in_dream(world: WorldModel, driver: Any, episodes: int, temperature: float) -> dict[str, np.ndarray]:
    dreams = Dreams(world, episodes, temperature)
    dreams.seed(0)
    dreams.reset()
    found = drive(dreams, driver, max_steps(world, world.config.burn_in))
    return found | {"laps": found["ended"] * (found["progress"] >= NEAR)}


def in_game(world: WorldModel, driver: Any, episodes: int) -> dict[str, np.ndarray]:
    parts = []
    for first in range(VALIDATION_SEEDS, VALIDATION_SEEDS + episodes, TILE):
        games = LatentGames(world, [world.task.open() for _ in range(TILE)])
        try:
            games.reset(np.ones(TILE, bool), range(first, first + TILE))
            found = drive(games, driver, max_steps(world))
            parts.append(found | {"laps": np.array([float(game.finished) for game in games.games])})
        finally:
            games.close()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def figures(found: dict[str, np.ndarray]) -> dict[str, float]:
    laps, returns = found["laps"] > 0, Score.of(found["returns"])
    return {
        "laps ended": float(laps.mean()),
        "ticks of a lap": float(found["ticks"][laps].mean()) if laps.any() else float("nan"),
        "tiles": float(found["progress"].mean()),
        "left the field": float((found["ended"] * ~laps).mean()),
        "return": returns.mean,
        "+-": returns.interval,
    }


def main() -> None:
    """Print a table, or JSON."""
    parser = script_parser("laps", __doc__)
    parser.add_argument("world", help="a world whose M sees the progress")
    parser.add_argument("--controllers", nargs="+", help="drivers (default: all of the world)")
    parser.add_argument("--episodes", type=int, default=32, help="episodes of each driver, in tiles of 8")
    parser.add_argument("--dreams", type=int, default=256, help="dreams of each driver")
    parser.add_argument("--temperature", type=float, default=1.0, help="temperature of the dreams")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    world = load_world(options.world)
    if not world.config.memory.progress:
        parser.error(f"M of {options.world} does not see the progress: train it with memory --progress")
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name in options.controllers or read_config(resolve(options.world))["controllers"]:
        driver = read_controller(options.world, name)
        places = {
            "game": in_game(world, driver, options.episodes),
            "dream": in_dream(world, driver, options.dreams, options.temperature),
        }
        rows[name] = {place: figures(found) for place, found in places.items()}
        if not options.json:
            for place, row in rows[name].items():
                print(f"{name}, {place}:", ", ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    run_script(main)
