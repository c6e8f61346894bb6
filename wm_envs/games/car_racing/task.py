"""Gymnasium's CarRacing as data."""

from __future__ import annotations

import numpy as np

from wm_envs.games.base import Array, Game, Task


def _executed_car_racing(action: Array) -> Array:
    """Steer as it is, gas (a + 1) / 2, brake clip(a, 0, 1) (the authors' released code)."""
    steer, gas, brake = (action[..., i] for i in range(3))
    return np.stack([steer, (gas + 1) / 2, np.clip(brake, 0, 1)], axis=-1).astype(np.float32)


def _open_car_racing(
    renderer: str = "fast", lap_complete_percent: float = 0.95, off_road_cost: float = 0.0
) -> Game:  # fmt: skip
    from wm_envs.games.car_racing.game import CarRacingGame  # Box2D and pygame are an extra

    return CarRacingGame(renderer, lap_complete_percent, off_road_cost)


CAR_RACING = Task(
    name="carracing",
    title="CarRacing",
    open=_open_car_racing,
    action_low=(-1.0, -1.0, -1.0),
    action_high=(1.0, 1.0, 1.0),
    discrete_actions=(
        # Gymnasium's own five, in its order: nothing, right, left, gas 0.2, brake 0.8 ...
        (0.0, -1.0, 0.0), (0.6, -1.0, 0.0), (-0.6, -1.0, 0.0), (0.0, -0.6, 0.0), (0.0, -1.0, 0.8),
        # ... and what they lack: right and left on the gas, full gas.
        (0.6, -0.6, 0.0), (-0.6, -0.6, 0.0), (0.0, 1.0, 0.0),
    ),
    game_action=_executed_car_racing,
    tick_limit=1000,
    ticks_per_second=50,
    hold_scales=((1, 5), (5, 20), (10, 50)),
    idle_actions=(0, 1, 2, 4),
    keyboard_action=lambda right, up: (float(right), 1.0 if up > 0 else -1.0, 0.8 if up < 0 else 0.0),
    latent=32,
    hidden=256,
    burn_in=24,  # the camera falls from where the whole field is a few pixels wide; later it is near, and slow
    reward_unit=3.0,  # about what a new tile of the track gives
    renderers=("stock", "exact", "fast"),
    settings={"lap_complete_percent": (0.0, 1.0), "off_road_cost": (0.0, 100.0)},
    # Seven ways to steer by braking, coasting, and gas 0.2 and 1.
    fine_actions=tuple(
        (steer, gas, brake)
        for steer in (0.0, 0.15, -0.15, 0.35, -0.35, 0.7, -0.7)
        for gas, brake in ((-1.0, 0.8), (-1.0, 0.0), (-0.6, 0.0), (1.0, 0.0))
    ),
)  # fmt: skip
