"""ViZDoom's Take Cover as data (World Models, appendix A.5)."""

from __future__ import annotations

import numpy as np

from wm_envs.games.base import Array, Task


def game_action(action: Array) -> Array:
    """-1 (left) for a < -1/3, 1 (right) for a > 1/3, else 0 (stay) (World Models, appendix A.5)."""
    return np.where(action > 1 / 3, 1.0, np.where(action < -1 / 3, -1.0, 0.0)).astype(np.float32)


def keyboard_action(right: int, up: int) -> tuple[float, ...]:
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
    action_low=(-1.0,),
    action_high=(1.0,),
    discrete_actions=((0.0,), (1.0,), (-1.0,)),  # stay, right, left: ViZDoom's own order
    game_action=game_action,
    hold_scales=((1, 10), (5, 60), (20, 120), (60, 150)),
    idle_actions=(0,),
    keyboard_action=keyboard_action,
    survival=True,
    fidelity_periods=(12, 20, 28, 40, 52, 60, 72, 80, 92, 100, 120, 132, 150),
    fidelity_pauses=((30, 30), (60, 20), (60, 60), (60, 100), (60, 130), (100, 40)),
    fidelity_holds=((10, 10), (30, 30), (60, 60), (90, 90)),
    tick_limit=2100,
    ticks_per_second=35,
)
