"""CarRacing's picture, byte for byte as Gymnasium draws it, without what does not show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_envs.games.car_racing.dependencies import CarRacing, car_racing, gfxdraw, pygame
from wm_envs.games.car_racing.scene import VIEW_ROWS, Scene, zoom_at

Pixels = NDArray[np.float64]

_WIDTH, _HEIGHT = car_racing.WINDOW_W, car_racing.WINDOW_H
_COLUMNS, _ROWS = car_racing.STATE_W, car_racing.STATE_H
_PANEL = _HEIGHT * (_ROWS - VIEW_ROWS) // _ROWS  # rows of the indicators: they begin where a row of the small one does
_EDGE = 2  # pixels: smooth edges reach over the corners they are drawn between


class ExactRenderer:
    """Draws the (96, 96, 3) observation of CarRacing-v3.

    All pixels are set by the calls that Gymnasium makes, in its order, so that every byte is the same. What
    is saved: polygons are turned and culled at once, the ground is filled instead of drawn, surfaces and
    texts are kept, and the picture is shrunk sideways before it is flipped. The indicators, which cover the
    lowest rows, are drawn and shrunk by themselves.
    """

    shape = (_ROWS, _COLUMNS, 3)

    def __init__(self) -> None:
        self._ground = pygame.Surface((_WIDTH, _HEIGHT))  # upside down, as Gymnasium draws it
        self._view = self._ground.subsurface((0, _PANEL, _WIDTH, _HEIGHT - _PANEL))  # what the panel will not cover
        self._panel = pygame.Surface((_WIDTH, _HEIGHT))
        self._panel_view = self._panel.subsurface((0, _HEIGHT - _PANEL, _WIDTH, _PANEL))
        self._narrow = pygame.Surface((_COLUMNS, _HEIGHT - _PANEL))  # the view, shrunk sideways
        self._all = pygame.Surface((_COLUMNS, _HEIGHT))  # the same and below it the panel
        self._lowest = self._all.subsurface((0, _HEIGHT - _PANEL, _COLUMNS, _PANEL))
        self._font: Any = None
        self._text: tuple[str, Any] = ("", None)  # the score that was drawn last

    def begin(self, env: CarRacing) -> None:
        """Take the track of a new episode."""
        self._scene = Scene(env)
        self._corners = np.stack([self._scene.corners.real, self._scene.corners.imag])
        self._field = car_racing.PLAYFIELD * np.array([[1.0, 1, -1, -1], [1, -1, -1, 1]])

    def draw(self, env: CarRacing) -> NDArray[np.uint8]:
        """The picture of this moment, (96, 96, 3)."""
        assert env.car is not None
        hull = env.car.hull
        zoom, angle, position = zoom_at(env.t), -hull.angle, complex(*hull.position)
        scroll = pygame.math.Vector2((-position.real * zoom, -position.imag * zoom)).rotate_rad(angle)
        shift = (_WIDTH / 2 + scroll[0], _HEIGHT / 4 + scroll[1])
        cosine, sine = pygame.math.Vector2(1, 0).rotate_rad(angle)

        def to_pixels(x: Pixels, y: Pixels) -> tuple[Pixels, Pixels]:
            """Rounded at every operation as Gymnasium does."""
            return (cosine * x - sine * y) * zoom + shift[0], (sine * x + cosine * y) * zoom + shift[1]

        turn = zoom * complex(cosine, sine)
        if self._scene.fills_view(position, turn):
            self._view.fill([int(c) for c in env.bg_color])
        else:
            self._draw_field(env, to_pixels(*self._field))
        near = self._scene.in_view(position, turn, _EDGE)
        self._draw_polygons(*to_pixels(*self._corners[:, near]), self._scene.colours[near])
        env.car.draw(self._ground, zoom, shift, angle, False)
        self._draw_panel(env)
        return self._shrunk()

    def _draw_field(self, env: CarRacing, corners: tuple[Pixels, Pixels]) -> None:
        self._view.fill(0)
        polygon = np.stack(corners, axis=-1).tolist()
        gfxdraw.aapolygon(self._ground, polygon, env.bg_color)
        gfxdraw.filled_polygon(self._ground, polygon, env.bg_color)

    def _draw_polygons(self, x: Pixels, y: Pixels, colours: Pixels) -> None:
        """Corners (N, 4) in pixels, colours (N, 3)."""
        seen = (x.min(axis=1) < _WIDTH + _EDGE) & (x.max(axis=1) > -_EDGE)
        seen &= (y.min(axis=1) < _HEIGHT + _EDGE) & (y.max(axis=1) > _PANEL - _EDGE)
        # pygame truncates as well, but one number at a time.
        polygons = np.stack([x[seen], y[seen]], axis=-1).astype(np.int32).tolist()
        shades = colours[seen].astype(np.int32).tolist()
        for polygon, shade in zip(polygons, shades, strict=True):
            gfxdraw.aapolygon(self._ground, polygon, shade)
            gfxdraw.filled_polygon(self._ground, polygon, shade)

    def _draw_panel(self, env: CarRacing) -> None:
        env.surf = self._panel  # type: ignore[assignment] # where the next call draws
        env._render_indicators(_WIDTH, _HEIGHT)
        text = f"{env.reward:04.0f}"
        if self._text[0] != text:
            self._text = (text, self._written(text))
        area = self._text[1].get_rect()
        area.center = (60, _HEIGHT - _HEIGHT * 2.5 / 40.0)
        self._panel.blit(self._text[1], area)

    def _written(self, text: str) -> Any:
        colours = (255, 255, 255), (0, 0, 0)
        pygame.font.init()
        try:
            return self._font.render(text, True, *colours)
        except (AttributeError, pygame.error):  # there is none yet, or another window's end took it away
            self._font = pygame.font.Font(pygame.font.get_default_font(), 42)
            return self._font.render(text, True, *colours)

    def _shrunk(self) -> NDArray[np.uint8]:
        # Sideways first, as the library does it, when each row is by itself; downwards all rows at once, since
        # where a row of the result begins is rounded from row to row.
        pygame.transform.smoothscale(self._view, self._narrow.get_size(), self._narrow)
        pygame.transform.smoothscale(self._panel_view, self._lowest.get_size(), self._lowest)
        self._all.blit(pygame.transform.flip(self._narrow, False, True), (0, 0))
        small = pygame.transform.smoothscale(self._all, (_COLUMNS, _ROWS))
        return np.ascontiguousarray(pygame.surfarray.pixels3d(small).transpose(1, 0, 2))


def outgrown(env: CarRacing) -> bool:
    """Whether a bar rises out of the rows of the indicators (wheels spinning at more than 400 rad/s)."""
    assert env.car is not None
    unit = _HEIGHT / 40  # a bar is 1 unit above the lower edge and 1 long for a value of 1
    speed = 0.02 * env.car.hull.linearVelocity.length
    return bool(unit * (1 + max(speed, *(0.01 * wheel.omega for wheel in env.car.wheels))) >= _PANEL)
