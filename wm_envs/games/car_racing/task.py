"""Gymnasium's CarRacing as data."""

from __future__ import annotations

import numpy as np

from wm_envs.games.base import Actions, Array, RandomPlay, Rewards, Task, Timing

FAST_RENDERERS = ("exact", "fast")  # those of `FastCarRacing`
RENDERERS = ("exact", "stock", "fast")  # "stock" is Gymnasium's own; "exact" draws the same bytes


def game_action(action: Array) -> Array:
    """Steer as it is, gas (a + 1) / 2, brake clip(a, 0, 1) (the authors' released code)."""
    steer, gas, brake = (action[..., i] for i in range(3))
    return np.stack([steer, (gas + 1) / 2, np.clip(brake, 0, 1)], axis=-1).astype(np.float32)


def of_keys(right: int, up: int) -> tuple[float, ...]:
    """Steer with right and left, full gas with up, brake with down."""
    return float(right), 1.0 if up > 0 else -1.0, 0.8 if up < 0 else 0.0


CAR_RACING = Task(
    name="carracing",
    title="CarRacing",
    game="wm_envs.games.car_racing.game:CarRacingGame",
    dream_id="WMDreamCarRacing-v0",
    real_id="WMCarRacing-v0",
    own_envs={
        "FastCarRacing-v0": {
            "entry_point": "wm_envs.games.car_racing.fast_car_racing:FastCarRacing",
            "max_episode_steps": 1000,
            "reward_threshold": 900,
            "kwargs": {"renderer": "exact"},
        }
    },
    extra="carracing",
    requires=("Box2D", "cv2", "pygame"),
    env_frame="wm_envs.games.car_racing.scene:env_frame",
    renderers=RENDERERS,
    score_renderer="exact",
    fast_renderer="fast",
    settings={"lap_complete_percent": (0.0, 1.0), "off_road_cost": (0.0, 100.0)},
    penalties=("off_road_cost",),
    actions=Actions(
        low=(-1.0, -1.0, -1.0),
        high=(1.0, 1.0, 1.0),
        discrete=(
            # Gymnasium's own five, in its order: nothing, right, left, gas 0.2, brake 0.8.
            (0.0, -1.0, 0.0), (0.6, -1.0, 0.0), (-0.6, -1.0, 0.0), (0.0, -0.6, 0.0), (0.0, -1.0, 0.8),
            # Three more: right and left with gas 0.2, full gas.
            (0.6, -0.6, 0.0), (-0.6, -0.6, 0.0), (0.0, 1.0, 0.0),
        ),
        # Seven steering angles, each with brake, without gas, and with gas 0.2 and 1.
        fine=tuple(
            (steer, gas, brake)
            for steer in (0.0, 0.15, -0.15, 0.35, -0.35, 0.7, -0.7)
            for gas, brake in ((-1.0, 0.8), (-1.0, 0.0), (-0.6, 0.0), (1.0, 0.0))
        ),
        to_game=game_action,
        of_keys=of_keys,
    ),
    rewards=Rewards(
        survival=False,
        scale=3.0,  # about the reward of a new tile of the track
        goal=1000.0,  # all tiles of the track, which end the lap
        per_tick=-0.1,
    ),
    random_play=RandomPlay(holds=((1, 5), (5, 20), (10, 50)), idle=(0, 1, 2, 4)),
    timing=Timing(
        tick_limit=1000,
        ticks_per_second=50,
        burn_in=24,  # the camera first zooms in from far away, where the whole field is a few pixels wide
    ),
    latent=32,
    hidden=256,
)  # fmt: skip
