"""What both renderers of CarRacing share: the polygons of an episode and the view of the camera.

For every frame, Gymnasium rotates each corner of about 700 polygons in Python, draws the near ones at 1000x800 and
scales the result down to 96x96. That is 98% of the time of a step. Here a `Scene` holds the polygons of an episode as
arrays, so that one operation rotates or culls all of them.

Points of the plane are complex numbers, x + iy, in the game's units of length.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from wm_envs.games.base import FRAME_SHAPE, Frame, Task
from wm_envs.games.car_racing.dependencies import CarRacing, car_racing, cv2

Points = NDArray[np.complex128]

VIEW_ROWS = 84  # of the 96 rows of an observation; the indicators are below them, and V does not see them
# The part of the 1000x800 picture above the indicators, in pixels of that picture: its size, its middle as seen from
# the car (y points up), and half its size.
VIEW = (car_racing.WINDOW_W, car_racing.WINDOW_H * VIEW_ROWS // car_racing.STATE_H)
VIEW_MIDDLE = complex(0, car_racing.WINDOW_H * 3 / 4 - VIEW[1] / 2)
VIEW_HALF = (VIEW[0] / 2, VIEW[1] / 2)


def crop(observation: NDArray[np.uint8]) -> Frame:
    """The frame of V, (64, 64, 3), from an observation, (96, 96, 3) (World Models, appendix A.1)."""
    return np.asarray(cv2.resize(observation[:VIEW_ROWS], FRAME_SHAPE[:2], interpolation=cv2.INTER_AREA), np.uint8)


def env_frame(task: Task, env: Any, observation: NDArray[np.uint8]) -> Frame:
    """The frame of an observation of CarRacing-v3; see `Task.env_frame`."""
    return crop(observation)


def zoom_at(seconds: float) -> float:
    """Pixels of the 1000x800 picture per unit of length; the camera zooms in during the first second."""
    return 0.1 * car_racing.SCALE * max(1 - seconds, 0) + car_racing.ZOOM * car_racing.SCALE * min(seconds, 1)


class Scene:
    """Grass, road and kerbs of one episode, in the order in which they are drawn.

    N polygons: `corners` (N, 4), `middles` (N,), `reach` (N,) from the middle to the farthest corner,
    `colours` (N, 3). The game recolours tiles that a wheel touches, so their colours are views of `colours`.
    The first `grass` rows are grass. `tiles` are the rows of the road's tiles; their corners are left, right, right,
    left.
    """

    def __init__(self, env: CarRacing) -> None:
        patch = car_racing.GRASS_DIM
        grass = [
            [complex(patch * x + i * patch, patch * y + j * patch) for i, j in ((1, 0), (0, 0), (0, 1), (1, 1))]
            for x in range(-20, 20, 2)
            for y in range(-20, 20, 2)
        ]
        road = [[complex(x, y) for x, y in polygon] for polygon, _ in env.road_poly]
        self.corners: Points = np.array(grass + road)
        self.middles: Points = self.corners.mean(axis=1)
        self.reach = np.abs(self.corners - self.middles[:, None]).max(axis=1)
        self.colours = np.array([env.grass_color] * len(grass) + [colour for _, colour in env.road_poly], float)
        self.background = env.bg_color
        # The colour of a tile is an array, which the game changes in place; the colour of a kerb is a tuple.
        tiles: list[int] = [row for row, (_, colour) in enumerate(env.road_poly) if isinstance(colour, np.ndarray)]
        for row, tile in zip(tiles, cast("list[Any]", env.road), strict=True):
            tile.color = self.colours[len(grass) + row]
            env.road_poly[row] = (env.road_poly[row][0], tile.color)
        self.grass, self.tiles = len(grass), len(grass) + np.array(tiles)

    def in_view(self, position: complex, turn: complex, margin: float) -> NDArray[np.intp]:
        """Rows of the polygons that may reach into the view, enlarged by `margin` pixels on every side.

        `position` is the car's; multiplying by `turn` converts the plane to pixels of the picture as seen from the car.
        """
        place = (self.middles - position) * turn - VIEW_MIDDLE
        reach = self.reach * abs(turn) + margin
        seen = np.abs(place.real) < reach + VIEW_HALF[0]
        seen &= np.abs(place.imag) < reach + VIEW_HALF[1]
        return np.flatnonzero(seen)

    @staticmethod
    def fills_view(position: complex, turn: complex) -> bool:
        """True if the edge of the playfield is certainly out of view."""
        away = car_racing.PLAYFIELD - max(abs(position.real), abs(position.imag))
        return away * abs(turn) > abs(VIEW_MIDDLE) + math.hypot(*VIEW_HALF)


def inward(corners: Points) -> Points:
    """The shift of each corner (..., C) of convex polygons that moves all sides inwards by about 1."""
    return unit_vectors(np.roll(corners, 1, axis=-1) - corners) + unit_vectors(np.roll(corners, -1, axis=-1) - corners)


def unit_vectors(vectors: Points) -> Points:
    """`vectors` scaled to length 1."""
    return vectors / np.maximum(np.abs(vectors), 1e-9)
