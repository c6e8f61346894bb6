"""The task of any environment, from its description."""

from __future__ import annotations

import functools

import numpy as np

from wm_envs.games.base import Task
from wm_envs.games.gym_env.description import EnvDescription, parse


@functools.lru_cache(maxsize=16)
def gym_task(name: str) -> Task:
    """The task of the environment that `name` describes; raises `InvalidOption` if it describes none."""
    found = parse(name)
    codec = found.actions

    def keyboard_action(right: int, up: int) -> tuple[float, ...]:
        return codec.choices[_choice(found, right, up)]

    return Task(
        name=name,
        title=found.title,
        game="wm_envs.games.gym_env.game:GymGame",
        game_kwargs={"name": name},
        dream_id="WMDream-v0",
        real_id="WMLatent-v0",
        extra="env",
        requires=("cv2",),
        env_frame="wm_envs.games.gym_env.frames:env_frame",
        own_actions=codec,
        action_low=(-1.0,) * codec.size,
        action_high=(1.0,) * codec.size,
        discrete_actions=codec.choices,
        game_action=codec.normal,
        hold_scales=((1, 1), (1, 4), (4, 12), (8, 30)),
        idle_actions=found.idle,
        keyboard_action=keyboard_action,
        survival=False,
        reward_scale=0.0,  # measured from the store
        tick_limit=found.tick_limit,
        ticks_per_second=found.ticks_per_second,
        fidelity_periods=(2, 5, 10, 20),
        frame_skip=1,
    )


def _choice(found: EnvDescription, right: int, up: int) -> int:
    """The choice of these keys: that of both, else that of one of them, else to do nothing."""
    known = {(key[0], key[1]): key[2] for key in found.keys}
    nothing = found.idle[0] if found.idle else known.get((0, 0), 0)
    for keys in ((right, up), (right, 0), (0, up)):
        if keys in known and keys != (0, 0):
            return known[keys]
    return int(np.clip(nothing, 0, len(found.actions.choices) - 1))
