"""The task of any environment, from its description."""

from __future__ import annotations

import functools

import numpy as np

from wm_envs.games.base import Actions, RandomPlay, Rewards, Task, Timing
from wm_envs.games.gym_env.description import EnvDescription, parse

EVEN = 1e3  # a concentration that makes all actions about equally likely


@functools.lru_cache(maxsize=16)
def gym_task(name: str) -> Task:
    """The task of the environment that `name` describes; raises `InvalidOption` if it describes none."""
    description = parse(name)
    codec = description.actions

    return Task(
        name=name,
        title=description.title,
        game="wm_envs.games.gym_env.game:GymGame",
        game_kwargs={"name": name},
        dream_id="WMDream-v0",
        real_id="WMLatent-v0",
        extra="env",
        requires=("cv2",),
        env_frame="wm_envs.games.gym_env.frames:env_frame",
        actions=Actions(
            low=(-1.0,) * codec.size,
            high=(1.0,) * codec.size,
            discrete=codec.choices,
            fine=codec.fine,
            own=codec,
            to_game=codec.normal,
            of_keys=lambda right, up: codec.choices[_choice(description, right, up)],
        ),
        rewards=Rewards(survival=False, scale=0.0),
        random_play=RandomPlay(
            holds=((1, 1), (1, 4), (4, 12), (8, 30)),
            idle=description.idle,
            concentrations=(0.1, 0.3, 1.0, EVEN),
            between=0.3 if codec.kind == "box" else 0.0,
        ),
        timing=Timing(tick_limit=description.tick_limit, ticks_per_second=description.ticks_per_second, frame_skip=1),
    )


def _choice(description: EnvDescription, right: int, up: int) -> int:
    """The choice of these keys: that of both, else that of one of them, else to do nothing."""
    known = {(key[0], key[1]): key[2] for key in description.keys}
    nothing = description.idle[0] if description.idle else known.get((0, 0), 0)
    for keys in ((right, up), (right, 0), (0, up)):
        if keys in known and keys != (0, 0):
            return known[keys]
    return int(np.clip(nothing, 0, len(description.actions.choices) - 1))
