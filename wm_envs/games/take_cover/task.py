"""ViZDoom's Take Cover as data (World Models, appendix A.5)."""

from __future__ import annotations

import numpy as np

from wm_envs.games.base import Actions, Array, RandomPlay, Rewards, Task, Timing


def game_action(action: Array) -> Array:
    """-1 (left) for a < -1/3, 1 (right) for a > 1/3, else 0 (stay) (World Models, appendix A.5)."""
    return np.where(action > 1 / 3, 1.0, np.where(action < -1 / 3, -1.0, 0.0)).astype(np.float32)


def of_keys(right: int, up: int) -> tuple[float, ...]:
    """The keys right and left."""
    return (float(right),)


TAKE_COVER = Task(
    name="takecover",
    title="ViZDoom Take Cover",
    game="wm_envs.games.take_cover.game:TakeCoverGame",
    dream_id="WMDream-v0",
    real_id="WMTakeCover-v0",
    extra="doom",
    requires=("vizdoom", "cv2"),
    objects={"DoomImp": 1.0, "DoomImpBall": 3.0},
    actions=Actions(
        low=(-1.0,),
        high=(1.0,),
        discrete=((0.0,), (1.0,), (-1.0,)),  # stay, right, left: ViZDoom's own order
        to_game=game_action,
        of_keys=of_keys,
    ),
    rewards=Rewards(survival=True),
    random_play=RandomPlay(holds=((1, 10), (5, 60), (20, 120), (60, 150)), idle=(0,)),
    timing=Timing(tick_limit=2100, ticks_per_second=35),
)
