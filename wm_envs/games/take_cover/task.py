"""ViZDoom's Take Cover as data (World Models, appendix A.5)."""

from __future__ import annotations

import numpy as np

from wm_envs.games.base import Array, Game, Task


def _executed_take_cover(action: Array) -> Array:
    """a < -1/3 moves left, a > 1/3 moves right, else stay (World Models, appendix A.5)."""
    return np.where(action > 1 / 3, 1.0, np.where(action < -1 / 3, -1.0, 0.0)).astype(np.float32)


def _open_take_cover() -> Game:
    from wm_envs.games.take_cover.game import TakeCoverGame  # vizdoom is an extra: imported when needed

    return TakeCoverGame()


TAKE_COVER = Task(
    name="takecover",
    title="ViZDoom Take Cover",
    open=_open_take_cover,
    action_low=(-1.0,),
    action_high=(1.0,),
    discrete_actions=((0.0,), (1.0,), (-1.0,)),  # stay, right, left: ViZDoom's own order
    game_action=_executed_take_cover,
    tick_limit=2100,
    ticks_per_second=35,
    hold_scales=((1, 10), (5, 60), (20, 120), (60, 150)),
    idle_actions=(0,),
    keyboard_action=lambda right, up: (float(right),),
)
