"""The recipe of a game: options of `run` that were measured to work, and that are its defaults there.

A game without a recipe has the defaults of `RunOptions`, which are those of Take Cover. The recipe of an environment
that is given by --env follows from the minutes that it may take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.infra.option_groups import DEFAULT_TASK
from wm_envs.games.gym_env.description import PREFIX

BUDGET = 90  # minutes of a run with --env, unless --minutes says otherwise

RECIPES: dict[str, dict[str, Any]] = {
    "carracing": {  # docs/experiments/training.md: 879 +- 52 in about three hours
        "rounds": 4, "explore_steps": 500_000, "own_frames": 500_000,
        "temperature": 0.8, "temperature_high": 1.4,
        "real_steps": 500_000, "real_settings": ("off_road_cost=2",),
        "stages": {
            "collect": {"frames": 500_000},
            "vision": {"batches": 5_000},
            "memory": {"steps": 21_000_000, "latent_dropout": 0.3},
            "ppo": {"total_timesteps": 4_000_000},
        },
    },
}  # fmt: skip


def recipe_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of the game that options of `run` name."""
    task = str(options.get("task", ""))
    if options.get("env") or task.startswith(PREFIX):
        return budget_recipe(options.get("minutes") or BUDGET)
    return RECIPES.get(task or DEFAULT_TASK, {})


def budget_recipe(minutes: int) -> dict[str, Any]:
    """The recipe of any environment for about so many minutes on two cores: its sizes grow with them."""
    share = minutes / BUDGET
    return {
        "own_frames": int(100_000 * share),
        "temperature": 0.8,
        "temperature_high": 1.2,
        "stages": {
            "collect": {"frames": int(200_000 * share), "part_frames": 8_192},
            "vision": {
                "batches": int(8_000 * share),
                "batch_size": 64,
                "kind": "residual-vae",
                "error": "calibrated",
                "motion": 0.0,
            },
            "memory": {
                "steps": int(20_000_000 * share),
                "hidden": 256,
                "learning_rate": 3e-3,
                "latent_dropout": 0.25,
            },
            "ppo": {
                "total_timesteps": int(6_000_000 * share),
                "batch_size": 1024,
                "gamma": 0.99,
                "validate_episodes": 24,
                "validate_every": 40,
            },
            "fidelity": {"episodes": 24, "dreams": 128},
        },
    }
