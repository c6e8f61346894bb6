"""The recipe of a game: options of `run` that were measured to work, and that are its defaults there.

A game without a recipe has the defaults of `RunOptions`, which are those of Take Cover.
"""

from __future__ import annotations

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    "carracing": {  # docs/training.md: 879 +- 52 in about three hours
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
