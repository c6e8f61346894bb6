"""World models as Gymnasium environments. Importing this registers the ids; it imports no torch and no game."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gymnasium.envs.registration import register, registry

from wm_envs.games.base import Task
from wm_envs.games.registry import TASKS

if TYPE_CHECKING:
    from wm_envs.models.controller import Controller

__version__ = "0.1.0"

# Further ids of each environment, for scripts that take nothing but an id: what follows the name -> keywords.
VARIANTS: dict[str, dict[str, str]] = {
    "": {},
    "Discrete": {"actions": "discrete"},
    "Pixels": {"observation": "pixels"},
    "DiscretePixels": {"actions": "discrete", "observation": "pixels"},
}


def register_envs(task: Task) -> None:
    """Register the dream of a task, its real game, their `VARIANTS` and its own environments.

    Ids that exist stay as they are.
    """
    envs = dict(task.own_envs)
    for name, env_id in (("dream:Dream", task.dream_id), ("real:Real", task.real_id)):
        plain, _, version = env_id.rpartition("-v")
        for variant, keywords in VARIANTS.items():
            envs[f"{plain}{variant}-v{version}"] = {
                "entry_point": f"wm_envs.envs.{name}Env",
                "vector_entry_point": f"wm_envs.envs.{name}VectorEnv",
                "kwargs": {"world": task.name, **keywords},
            }
    for env_id, spec in envs.items():
        if env_id not in registry:
            register(id=env_id, **spec)


def load_controller(world: str | Path = "takecover", name: str = "") -> Controller:
    """A controller of a world (its first one by default) as a torch module, from observations to actions."""
    from wm_envs.models.bundle import load_controller_module

    return load_controller_module(world, name)


for _task in TASKS.values():
    register_envs(_task)
