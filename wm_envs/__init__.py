"""World models as Gymnasium environments. Importing this registers the ids; it imports no torch."""

from gymnasium.envs.registration import register, registry

__version__ = "0.1.0"

_DREAMS = {"WMDream-v0": "takecover", "WMDreamCarRacing-v0": "carracing"}  # id -> shipped world
_REAL = {"WMTakeCover-v0": "takecover", "WMCarRacing-v0": "carracing"}

for _id, _world in _DREAMS.items():
    if _id not in registry:
        register(
            id=_id,
            entry_point="wm_envs.envs.dream:DreamEnv",
            vector_entry_point="wm_envs.envs.dream:DreamVectorEnv",
            kwargs={"world": _world},
        )
for _id, _world in _REAL.items():
    if _id not in registry:
        register(
            id=_id,
            entry_point="wm_envs.envs.real:RealEnv",
            vector_entry_point="wm_envs.envs.real:RealVectorEnv",
            kwargs={"world": _world},
        )
if "FastCarRacing-v0" not in registry:
    register(
        id="FastCarRacing-v0",
        entry_point="wm_envs.games.car_racing.fast_car_racing:FastCarRacing",
        max_episode_steps=1000,
        reward_threshold=900,
        kwargs={"renderer": "exact"},
    )
