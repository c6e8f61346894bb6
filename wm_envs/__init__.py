"""World models as Gymnasium environments. Importing this registers the ids; it imports no torch and no game."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register, registry

from wm_envs.games.base import Task
from wm_envs.games.registry import TASKS

if TYPE_CHECKING:
    from wm_envs.models.controller import Controller

__version__ = "1.0.0"

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
    for env_id, spec in task.own_envs.items():
        if env_id not in registry:
            register(id=env_id, **spec)
    register_variants(task.dream_id, "dream:Dream", {"world": task.name})
    register_variants(task.real_id, "real:Real", {"world": task.name})


def register_variants(env_id: str, name: str, kwargs: dict[str, str]) -> None:
    """Register an id and its `VARIANTS`, for the classes that begin with `name` ("module:Class")."""
    plain, _, version = env_id.rpartition("-v")
    for variant, keywords in VARIANTS.items():
        if (variant_id := f"{plain}{variant}-v{version}") not in registry:
            register(
                id=variant_id, entry_point=f"wm_envs.envs.{name}Env",
                vector_entry_point=f"wm_envs.envs.{name}VectorEnv", kwargs={**kwargs, **keywords},
            )  # fmt: skip


def __getattr__(name: str) -> Any:
    """`LatentFeatures`, which needs torch, is imported when it is first used."""
    if name == "LatentFeatures":
        from wm_envs.envs.latent_features import LatentFeatures

        return LatentFeatures
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_controller(world: str | Path = "takecover", name: str = "") -> Controller:
    """A controller of a world (its first one by default) as a torch module, from observations to actions."""
    from wm_envs.worlds.bundle import load_controller_module

    return load_controller_module(world, name)


for _task in TASKS.values():
    register_envs(_task)
register_variants("WMLatent-v0", "real:Real", {})
