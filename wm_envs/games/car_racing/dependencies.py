"""Gymnasium's CarRacing and the packages it needs.

All other modules of this game import these packages from here. A missing package raises `MissingPackage`, also when
the game is opened without its task (`FastCarRacing-v0`).
"""

from __future__ import annotations

import warnings

from wm_envs.games.base import missing_package
from wm_envs.games.car_racing.task import CAR_RACING

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Box2D 2.3.10 warns on import and crashes Python if warnings are errors
        import Box2D as Box2D  # if it is missing, Gymnasium's own error is no ImportError
    import cv2 as cv2
    import pygame as pygame
    from gymnasium.envs.box2d import car_dynamics as car_dynamics
    from gymnasium.envs.box2d import car_racing as car_racing
    from gymnasium.envs.box2d.car_dynamics import Car as Car
    from gymnasium.envs.box2d.car_racing import CarRacing as CarRacing
    from pygame import gfxdraw as gfxdraw
except ImportError as error:
    raise missing_package(CAR_RACING.title, error.name or str(error), CAR_RACING.extra) from error

cv2.setNumThreads(1)  # many games run in parallel processes: threads inside one would slow the others
