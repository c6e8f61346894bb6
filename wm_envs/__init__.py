"""World models as Gymnasium environments. Importing this registers the ids; it imports no torch and no game."""

from gymnasium.envs.registration import register, registry

from wm_envs.games.base import Task
from wm_envs.games.registry import TASKS

__version__ = "0.1.0"


def register_envs(task: Task) -> None:
    """Register the dream of a task, its real game and its further environments; ids that exist stay as they are."""
    envs = dict(task.own_envs)
    for name, env_id in (("dream:Dream", task.dream_id), ("real:Real", task.real_id)):
        envs[env_id] = {
            "entry_point": f"wm_envs.envs.{name}Env",
            "vector_entry_point": f"wm_envs.envs.{name}VectorEnv",
            "kwargs": {"world": task.name},
        }
    for env_id, keywords in envs.items():
        if env_id not in registry:
            register(id=env_id, **keywords)


for _task in TASKS.values():
    register_envs(_task)
