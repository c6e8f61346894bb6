"""World models as Gymnasium environments. Importing this registers the ids; it imports no torch and no game.

`__all__` is the public interface, together with `wm_envs.sb3` (Stable-Baselines3) and `wm_envs.errors`. Every other
module is internal and may change in any release.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register, registry

from wm_envs.errors import WorldModelError
from wm_envs.games.base import Task
from wm_envs.games.registry import TASKS, get_task

if TYPE_CHECKING:
    from wm_envs.envs.latent_features import LatentFeatures
    from wm_envs.models.controller import Controller, ControllerConfig
    from wm_envs.models.state import State
    from wm_envs.models.world_model import WorldConfig, WorldModel
    from wm_envs.worlds.bundle import load_controller, load_world, save_controller, save_world, shipped_worlds

__all__ = [
    "Controller",
    "ControllerConfig",
    "LatentFeatures",
    "State",
    "Task",
    "WorldConfig",
    "WorldModel",
    "WorldModelError",
    "__version__",
    "get_task",
    "load_controller",
    "load_world",
    "register_envs",
    "save_controller",
    "save_world",
    "shipped_worlds",
]
__version__ = "1.0.0"

_HOMES = {  # modules that need torch -> what `__getattr__` takes from them when it is first used
    "wm_envs.envs.latent_features": ("LatentFeatures",),
    "wm_envs.models.controller": ("Controller", "ControllerConfig"),
    "wm_envs.models.state": ("State",),
    "wm_envs.models.world_model": ("WorldConfig", "WorldModel"),
    "wm_envs.worlds.bundle": ("load_controller", "load_world", "save_controller", "save_world", "shipped_worlds"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# Further ids of each environment, for scripts that take nothing but an id: what follows the name -> keywords.
_VARIANTS: dict[str, dict[str, str]] = {
    "": {},
    "Discrete": {"actions": "discrete"},
    "Pixels": {"observation": "pixels"},
    "DiscretePixels": {"actions": "discrete", "observation": "pixels"},
}


def __getattr__(name: str) -> Any:
    """A public name that needs torch."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value  # from now on without this function
    return value


def __dir__() -> list[str]:
    """The public names; some are not imported yet."""
    return sorted(__all__)


def register_envs(task: Task) -> None:
    """Register the dream of a game, its real game, their ids for discrete actions and pixels, and its own environments.

    The games of this package are registered already. Ids that exist stay as they are.
    """
    for env_id, spec in task.own_envs.items():
        if env_id not in registry:
            register(id=env_id, **spec)
    _register_variants(task.dream_id, "dream:Dream", {"world": task.name})
    _register_variants(task.real_id, "real:Real", {"world": task.name})


def _register_variants(env_id: str, name: str, kwargs: dict[str, str]) -> None:
    """Register an id and its `_VARIANTS`, for the classes that begin with `name` ("module:Class")."""
    plain, _, version = env_id.rpartition("-v")
    for variant, keywords in _VARIANTS.items():
        if (variant_id := f"{plain}{variant}-v{version}") not in registry:
            register(
                id=variant_id,
                entry_point=f"wm_envs.envs.{name}Env",
                vector_entry_point=f"wm_envs.envs.{name}VectorEnv",
                kwargs={**kwargs, **keywords},
            )


for _task in TASKS.values():
    register_envs(_task)
_register_variants("WMLatent-v0", "real:Real", {})
