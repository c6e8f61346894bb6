"""Gymnasium's CarRacing and what it needs, or an error that says how to install them.

All other modules of this game import these packages from here, so that a missing one is always explained.
"""

from __future__ import annotations

import warnings

from wm_envs.errors import MissingPackage

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Box2D 2.3.10 warns as it loads, and crashes Python where warnings are errors
        import Box2D as Box2D  # without it Gymnasium raises an error that is no ImportError
    import cv2 as cv2
    import pygame as pygame
    from gymnasium.envs.box2d import car_dynamics as car_dynamics
    from gymnasium.envs.box2d import car_racing as car_racing
    from gymnasium.envs.box2d.car_dynamics import Car as Car
    from gymnasium.envs.box2d.car_racing import CarRacing as CarRacing
    from pygame import gfxdraw as gfxdraw
except ImportError as error:
    raise MissingPackage(
        "CarRacing", f"no package {error.name!r}", "the extra 'carracing'", "pip install 'wm-envs[carracing]'"
    ) from error

cv2.setNumThreads(1)  # many games run side by side: threads inside one drawing only get in the way
