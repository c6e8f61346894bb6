"""The renderer "fast": CarRacing's frame for V, 64x64, drawn directly from the polygons of a `Scene`."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_envs.games.base import FRAME_SHAPE, Frame
from wm_envs.games.car_racing.dependencies import Car, CarRacing, car_dynamics, car_racing, cv2
from wm_envs.games.car_racing.scene import VIEW, Points, Scene, inward, unit_vectors, zoom_at

_DARKENING = 2  # Gymnasium's smoothscale gives c - 2 for an area of one colour c
_SUBPIXEL_BITS = 8
_WHEEL_WIDTH, _WHEEL_RADIUS = (size * car_dynamics.SIZE for size in (car_dynamics.WHEEL_W, car_dynamics.WHEEL_R))
_HULL: list[Points] = [
    np.array([complex(x, y) * car_dynamics.SIZE for x, y in polygon])
    for polygon in (car_dynamics.HULL_POLY1, car_dynamics.HULL_POLY2, car_dynamics.HULL_POLY3, car_dynamics.HULL_POLY4)
]
_WHEELS: Points = np.array([complex(x, y) * car_dynamics.SIZE for x, y in car_dynamics.WHEELPOS])
_SIDE, _TOP = np.array([-1.0, 1.0, 1.0, -1.0]), np.array([1.0, 1.0, -1.0, -1.0])  # the corners of a box
_PAINT, _TYRE, _STRIPE = (202, 0, 0), (0, 0, 0), (75, 75, 75)  # already darkened


def stripe(phase: float) -> tuple[float, float] | None:
    """The two ends, from -1 to 1, of the light stripe on a turning wheel; None while the stripe is underneath."""
    behind = [math.sin(angle) > 0 for angle in (phase, phase + 1.2)]
    along = [math.cos(angle) for angle in (phase, phase + 1.2)]
    if all(behind):
        return None
    first, last = (math.copysign(1, c) if hidden else c for c, hidden in zip(along, behind, strict=True))
    return first, last


class SmallRenderer:
    """Draws the (64, 64, 3) frame of V, without the indicators, directly from the polygons.

    OpenCV draws with smooth edges at twice the size. It also draws the outline of each polygon it fills, which adds
    half a pixel on the outside; all polygons are shrunk by this amount first.
    """

    shape = FRAME_SHAPE
    _SIZE = 2 * FRAME_SHAPE[0]
    _CAR = complex(car_racing.WINDOW_W / 2, car_racing.WINDOW_H / 4)  # its place in that picture, from the lower edge

    def __init__(self) -> None:
        self._canvas = np.zeros((self._SIZE, self._SIZE, 3), np.uint8)
        one = 1 << _SUBPIXEL_BITS
        self._scale = np.array([one * self._SIZE / VIEW[0], -one * self._SIZE / VIEW[1]])
        # From pixels of the picture, seen from the car, to sub-pixels of the canvas; pixel centres are whole numbers.
        self._offset = np.array([self._CAR.real, self._CAR.imag - car_racing.WINDOW_H]) * self._scale - one / 2
        self._offset += 0.5  # the conversion to whole numbers truncates
        pixel = 0.5 * (VIEW[0] + VIEW[1]) / self._SIZE  # a canvas pixel in pixels of the picture
        self._shrink = pixel / 2

    def set_track(self, env: CarRacing) -> None:
        """Load the track of a new episode."""
        self._scene = Scene(env)
        self._zoom = 0.0
        self._inward = inward(self._scene.corners)
        tiles = self._scene.corners[self._scene.tiles]  # sideways only, so that no grass shows between tiles
        self._inward[self._scene.tiles] = unit_vectors(tiles[:, [1, 0, 3, 2]] - tiles)
        self._narrow = np.abs(self._scene.corners - np.roll(self._scene.corners, 1, axis=1)).min(axis=1)[:, None] / 2
        bounds = car_racing.PLAYFIELD
        self._field: Points = np.array([complex(x, y) * bounds for x, y in ((1, 1), (1, -1), (-1, -1), (-1, 1))])
        colour = _dark(np.asarray(self._scene.background, float))
        self._lawn = np.broadcast_to(np.array(colour, np.uint8), self._canvas.shape).copy()
        self._lawn_colour = colour
        self._grass_colour = _dark(self._scene.colours[0])

    def _zoom_to(self, zoom: float) -> None:
        """Shrink all polygons by half a pixel of the canvas, at most to a line."""
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
        turn = cmath.rect(zoom, -env.car.hull.angle)  # from the plane to pixels of the picture, seen from the car
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
        if grass:  # one colour, and no two overlap: one call
            cv2.fillPoly(self._canvas, list(polygons[:grass]), self._grass_colour, cv2.LINE_AA, _SUBPIXEL_BITS)
        self._fill(polygons[grass:], _dark(scene.colours[rows[grass:]]))

    def _draw_car(self, car: Car) -> None:
        """The camera turns with the hull, so only the front wheels and the stripes move in the picture."""
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
        """Points (..., C) in pixels of the picture, seen from the car -> sub-pixels of the canvas (..., C, 2)."""
        return (points.view(np.float64).reshape(*points.shape, 2) * self._scale + self._offset).astype(np.int32)

    def _fill(self, polygons: Iterable[NDArray[np.int32]], colours: Sequence[Sequence[int]]) -> None:
        canvas, fill, smooth = self._canvas, cv2.fillConvexPoly, cv2.LINE_AA  # local names: this is the inner loop
        for polygon, colour in zip(polygons, colours, strict=True):
            fill(canvas, polygon, colour, smooth, _SUBPIXEL_BITS)


def _dark(colours: NDArray[np.floating[Any]]) -> list[Any]:
    """Colours (..., 3) as they are after Gymnasium's scaling."""
    shades: list[Any] = np.maximum(colours.astype(np.int64) - _DARKENING, 0).tolist()
    return shades
