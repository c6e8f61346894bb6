"""CarRacing's picture, drawn faster: what the painters share, and the painter of small frames.

Gymnasium turns every corner of some 700 polygons in Python for every frame, draws those that are near
at 1000x800 and shrinks the result to 96x96. That is 98% of a step. Here a `Scene` holds the polygons of
an episode as arrays, so that they are turned and culled at once.

Points of the plane are complex numbers, x + iy, in the game's units of length.
"""

from __future__ import annotations

import cmath
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from wm_envs.errors import MissingPackage
from wm_envs.tasks import FRAME_SHAPE, Frame

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Box2D 2.3.10 warns as it loads, and crashes Python where warnings are errors
        import Box2D  # noqa: F401 (without it Gymnasium raises an error that is no ImportError)
    import cv2
    import pygame  # noqa: F401 (the same)
    from gymnasium.envs.box2d import car_dynamics
    from gymnasium.envs.box2d import car_racing as car_racing  # for others: its absence is explained here
    from gymnasium.envs.box2d.car_dynamics import Car
    from gymnasium.envs.box2d.car_racing import CarRacing as CarRacing
except ImportError as error:
    raise MissingPackage(
        "CarRacing", f"no package {error.name!r}", "the extra 'carracing'", "pip install 'wm-envs[carracing]'"
    ) from error

cv2.setNumThreads(1)  # many games run side by side: threads inside one drawing only get in the way

Points = NDArray[np.complex128]

VIEW_ROWS = 84  # of the 96 rows of an observation; below them are the indicators, which V does not see
# The part of the 1000x800 picture that the indicators leave: its middle as seen from the car, y upwards, and half
# its size, in pixels of that picture.
_VIEW = (car_racing.WINDOW_W, car_racing.WINDOW_H * VIEW_ROWS // car_racing.STATE_H)
VIEW_MIDDLE = complex(0, car_racing.WINDOW_H * 3 / 4 - _VIEW[1] / 2)
VIEW_HALF = (_VIEW[0] / 2, _VIEW[1] / 2)
_DARKENING = 2  # stock's smoothscale gives c - 2 for an even area of colour c
_SUBPIXEL_BITS = 8
_WHEEL_WIDTH, _WHEEL_RADIUS = (size * car_dynamics.SIZE for size in (car_dynamics.WHEEL_W, car_dynamics.WHEEL_R))
_HULL: list[Points] = [
    np.array([complex(x, y) * car_dynamics.SIZE for x, y in polygon])
    for polygon in (car_dynamics.HULL_POLY1, car_dynamics.HULL_POLY2, car_dynamics.HULL_POLY3, car_dynamics.HULL_POLY4)
]
_WHEELS: Points = np.array([complex(x, y) * car_dynamics.SIZE for x, y in car_dynamics.WHEELPOS])
_SIDE, _TOP = np.array([-1.0, 1.0, 1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])  # the corners of a box
_PAINT, _TYRE, _STRIPE = (202, 0, 0), (0, 0, 0), (75, 75, 75)  # darkened, as everything here


def crop(observation: NDArray[np.uint8]) -> Frame:
    """What V sees, (64, 64, 3), of an observation, (96, 96, 3) (World Models, appendix A.1)."""
    return np.asarray(cv2.resize(observation[:VIEW_ROWS], FRAME_SHAPE[:2], interpolation=cv2.INTER_AREA), np.uint8)


def zoom_at(seconds: float) -> float:
    """Pixels of the 1000x800 picture a unit of length: the camera comes down in the first second."""
    return 0.1 * car_racing.SCALE * max(1 - seconds, 0) + car_racing.ZOOM * car_racing.SCALE * min(seconds, 1)


class Scene:
    """Grass, road and kerbs of one episode, in the order in which they are drawn.

    N polygons: `corners` (N, 4), `middles` (N,), `reach` (N,) from the middle to the farthest corner,
    `colours` (N, 3). The game recolours tiles that are driven on: their colours are views of `colours`.
    The first `grass` rows are grass; `tiles` are those of the road's tiles, with corners left, right, right, left.
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
        # Tiles have arrays of numbers for colours, which the game changes in place; kerbs have tuples.
        tiles: list[int] = [row for row, (_, colour) in enumerate(env.road_poly) if isinstance(colour, np.ndarray)]
        for row, tile in zip(tiles, cast("list[Any]", env.road), strict=True):
            tile.color = self.colours[len(grass) + row]
            env.road_poly[row] = (env.road_poly[row][0], tile.color)
        self.grass, self.tiles = len(grass), len(grass) + np.array(tiles)

    def in_view(self, position: complex, turn: complex, margin: float) -> NDArray[np.intp]:
        """Rows of the polygons that may reach into the view or up to `margin` pixels beside it.

        `position` is the car's, `turn` takes the plane to pixels of the picture as seen from the car.
        """
        place = (self.middles - position) * turn - VIEW_MIDDLE
        reach = self.reach * abs(turn) + margin
        seen = np.abs(place.real) < reach + VIEW_HALF[0]
        seen &= np.abs(place.imag) < reach + VIEW_HALF[1]
        return np.flatnonzero(seen)

    @staticmethod
    def fills_view(position: complex, turn: complex) -> bool:
        """Whether the playfield's end is out of sight for certain."""
        away = car_racing.PLAYFIELD - max(abs(position.real), abs(position.imag))
        return away * abs(turn) > abs(VIEW_MIDDLE) + math.hypot(*VIEW_HALF)


def inward(corners: Points) -> Points:
    """For each corner (..., C) of convex polygons: where to move it so that all sides move in by about 1."""
    return _units(np.roll(corners, 1, axis=-1) - corners) + _units(np.roll(corners, -1, axis=-1) - corners)


def _units(vectors: Points) -> Points:
    return vectors / np.maximum(np.abs(vectors), 1e-9)


def stripe(phase: float) -> tuple[float, float] | None:
    """The ends, from -1 to 1, of the light stripe that shows a wheel turn; None while it is below."""
    behind = [math.sin(angle) > 0 for angle in (phase, phase + 1.2)]
    along = [math.cos(angle) for angle in (phase, phase + 1.2)]
    if all(behind):
        return None
    first, last = (math.copysign(1, c) if hidden else c for c, hidden in zip(along, behind, strict=True))
    return first, last


class SmallPainter:
    """Draws the (64, 64, 3) frame that V needs, without the indicators, straight from the polygons.

    OpenCV draws, with smooth edges, on twice the size. It also draws the outline of whatever it fills,
    half a pixel thick on the outer side; so all polygons are made smaller by so much first.
    """

    shape = FRAME_SHAPE
    _SIZE = 2 * FRAME_SHAPE[0]
    _CAR = complex(car_racing.WINDOW_W / 2, car_racing.WINDOW_H / 4)  # where it is in that picture, from below

    def __init__(self) -> None:
        self._canvas = np.zeros((self._SIZE, self._SIZE, 3), np.uint8)
        one = 1 << _SUBPIXEL_BITS
        self._scale = np.array([one * self._SIZE / _VIEW[0], -one * self._SIZE / _VIEW[1]])
        # From the car, in pixels of the picture, to sub-pixels of the canvas; a pixel's middle is a whole number.
        self._offset = np.array([self._CAR.real, self._CAR.imag - car_racing.WINDOW_H]) * self._scale - one / 2
        self._offset += 0.5  # the conversion to whole numbers truncates
        pixel = 0.5 * (_VIEW[0] + _VIEW[1]) / self._SIZE  # a canvas pixel in pixels of the picture
        self._shrink = pixel / 2

    def begin(self, env: CarRacing) -> None:
        """Take the track of a new episode."""
        self._scene = Scene(env)
        self._zoom = 0.0
        self._inward = inward(self._scene.corners)
        tiles = self._scene.corners[self._scene.tiles]  # sideways only: grass must not show between them
        self._inward[self._scene.tiles] = _units(tiles[:, [1, 0, 3, 2]] - tiles)
        self._narrow = np.abs(self._scene.corners - np.roll(self._scene.corners, 1, axis=1)).min(axis=1)[:, None] / 2
        bounds = car_racing.PLAYFIELD
        self._field: Points = np.array([complex(x, y) * bounds for x, y in ((1, 1), (1, -1), (-1, -1), (-1, 1))])
        colour = _dark(np.asarray(self._scene.background, float))
        self._lawn = np.broadcast_to(np.array(colour, np.uint8), self._canvas.shape).copy()
        self._lawn_colour = colour
        self._grass_colour = _dark(self._scene.colours[0])

    def _zoom_to(self, zoom: float) -> None:
        """Shrink everything by half a pixel of the canvas, at most to a line."""
        self._zoom = zoom
        self._corners = self._scene.corners + self._inward * np.minimum(self._shrink / zoom, self._narrow)
        self._hull = [self._to_canvas((polygon + inward(polygon) * self._shrink / zoom) * zoom) for polygon in _HULL]

    def draw(self, env: CarRacing) -> Frame:
        """The frame of this moment, (64, 64, 3)."""
        assert env.car is not None
        zoom = zoom_at(env.t)
        if zoom != self._zoom:
            self._zoom_to(zoom)
        position = complex(*env.car.hull.position)
        turn = cmath.rect(zoom, -env.car.hull.angle)  # from the plane to pixels of the picture, from the car
        self._draw_field(position, turn)
        self._draw_scene(position, turn)
        self._draw_car(env.car)
        return np.asarray(cv2.resize(self._canvas, FRAME_SHAPE[:2], interpolation=cv2.INTER_AREA), np.uint8)

    def _draw_field(self, position: complex, turn: complex) -> None:
        if self._scene.fills_view(position, turn):
            np.copyto(self._canvas, self._lawn)
            return
        self._canvas[:] = 0
        corners = self._field + inward(self._field) * self._shrink / self._zoom
        self._fill([self._to_canvas((corners - position) * turn)], [self._lawn_colour])

    def _draw_scene(self, position: complex, turn: complex) -> None:
        scene = self._scene
        rows = scene.in_view(position, turn, margin=0)
        polygons = self._to_canvas((self._corners[rows] - position) * turn)
        grass = int(np.searchsorted(rows, scene.grass))
        if grass:  # all of one colour and apart from each other: one call
            cv2.fillPoly(self._canvas, list(polygons[:grass]), self._grass_colour, cv2.LINE_AA, _SUBPIXEL_BITS)
        self._fill(polygons[grass:], _dark(scene.colours[rows[grass:]]))

    def _draw_car(self, car: Car) -> None:
        """The camera turns with the hull, so that but for the front wheels only the stripes move."""
        stripes = [(wheel, seen) for wheel, body in enumerate(car.wheels) if (seen := stripe(body.phase))]
        wheels = [0, 1, 2, 3, *(wheel for wheel, _ in stripes)]
        ends = np.array([(-1.0, 1.0)] * 4 + [seen for _, seen in stripes]) * _WHEEL_RADIUS
        shrink = self._shrink / self._zoom
        half = np.maximum(np.abs(ends[:, 1] - ends[:, 0]) / 2 - shrink, 0)[:, None] * _TOP
        boxes = max(_WHEEL_WIDTH - shrink, 0) * _SIDE + 1j * (half + ends.sum(axis=1)[:, None] / 2)  # (4 to 8, 4)
        turns = np.array([cmath.rect(1, body.joint.angle) for body in car.wheels])[wheels, None]
        polygons = self._to_canvas((boxes * turns + _WHEELS[wheels, None]) * self._zoom)
        self._fill(polygons, [_TYRE] * 4 + [_STRIPE] * len(stripes))
        self._fill(self._hull, [_PAINT] * len(_HULL))

    def _to_canvas(self, points: Points) -> NDArray[np.int32]:
        """Points (..., C) in pixels of the picture, from the car -> sub-pixels of the canvas (..., C, 2)."""
        return (points.view(np.float64).reshape(*points.shape, 2) * self._scale + self._offset).astype(np.int32)

    def _fill(self, polygons: Iterable[NDArray[np.int32]], colours: Sequence[Sequence[int]]) -> None:
        canvas, fill, smooth = self._canvas, cv2.fillConvexPoly, cv2.LINE_AA  # looked up once: this is the inner loop
        for polygon, colour in zip(polygons, colours, strict=True):
            fill(canvas, polygon, colour, smooth, _SUBPIXEL_BITS)


def _dark(colours: NDArray[np.floating[Any]]) -> list[Any]:
    """Colours (..., 3) as stock's scaling leaves them."""
    shades: list[Any] = np.maximum(colours.astype(np.int64) - _DARKENING, 0).tolist()
    return shades
