"""The renderer "exact": the observation of CarRacing-v3, byte for byte, without drawing what is not visible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_envs.games.car_racing.dependencies import CarRacing, car_racing, gfxdraw, pygame
from wm_envs.games.car_racing.scene import VIEW_ROWS, Scene, zoom_at

Pixels = NDArray[np.float64]

_WIDTH, _HEIGHT = car_racing.WINDOW_W, car_racing.WINDOW_H
_COLUMNS, _ROWS = car_racing.STATE_W, car_racing.STATE_H
_PANEL = _HEIGHT * (_ROWS - VIEW_ROWS) // _ROWS  # rows of the indicators, a whole number of rows of the observation
_EDGE = 2  # pixels by which smooth edges extend beyond the corners


class ExactRenderer:
    """Draws the (96, 96, 3) observation of CarRacing-v3.

    It makes the drawing calls of Gymnasium in the same order, so every byte is the same. It is faster because one
    operation rotates or culls all polygons, the ground is filled instead of drawn, surfaces and texts are reused, and
    the picture is scaled horizontally before it is flipped. The indicators, which cover the lowest rows, are drawn and
    scaled separately.
    """

    shape = (_ROWS, _COLUMNS, 3)

    def __init__(self) -> None:
        self._ground = pygame.Surface((_WIDTH, _HEIGHT))  # upside down, as Gymnasium draws it
        self._view = self._ground.subsurface((0, _PANEL, _WIDTH, _HEIGHT - _PANEL))  # the part above the panel
        self._panel = pygame.Surface((_WIDTH, _HEIGHT))
        self._panel_view = self._panel.subsurface((0, _HEIGHT - _PANEL, _WIDTH, _PANEL))
        self._narrow = pygame.Surface((_COLUMNS, _HEIGHT - _PANEL))  # the view, scaled horizontally
        self._all = pygame.Surface((_COLUMNS, _HEIGHT))  # the same with the panel below it
        self._lowest = self._all.subsurface((0, _HEIGHT - _PANEL, _COLUMNS, _PANEL))
        self._font: Any = None
        self._text: tuple[str, Any] = ("", None)  # the last score and its picture

    def set_track(self, env: CarRacing) -> None:
        """Load the track of a new episode."""
        self._scene = Scene(env)
        self._corners = np.stack([self._scene.corners.real, self._scene.corners.imag])
        self._field = car_racing.PLAYFIELD * np.array([[1.0, 1, -1, -1], [1, -1, -1, 1]])

    def draw(self, env: CarRacing) -> NDArray[np.uint8]:
        """The observation of this tick, (96, 96, 3)."""
        assert env.car is not None
        hull = env.car.hull
        zoom, angle, position = zoom_at(env.t), -hull.angle, complex(*hull.position)
        scroll = pygame.math.Vector2((-position.real * zoom, -position.imag * zoom)).rotate_rad(angle)
        shift = (_WIDTH / 2 + scroll[0], _HEIGHT / 4 + scroll[1])
        cosine, sine = pygame.math.Vector2(1, 0).rotate_rad(angle)

        def to_pixels(x: Pixels, y: Pixels) -> tuple[Pixels, Pixels]:
            """Rounds at every operation, as Gymnasium does."""
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
        # pygame truncates, too, but one number at a time.
        polygons = np.stack([x[seen], y[seen]], axis=-1).astype(np.int32).tolist()
        shades = colours[seen].astype(np.int32).tolist()
        for polygon, shade in zip(polygons, shades, strict=True):
            gfxdraw.aapolygon(self._ground, polygon, shade)
            gfxdraw.filled_polygon(self._ground, polygon, shade)

    def _draw_panel(self, env: CarRacing) -> None:
        env.surf = self._panel  # type: ignore[assignment] # the surface that the next call draws on
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
        except (AttributeError, pygame.error):  # there is no font yet, or closing a window freed it
            self._font = pygame.font.Font(pygame.font.get_default_font(), 42)
            return self._font.render(text, True, *colours)

    def _shrunk(self) -> NDArray[np.uint8]:
        # Horizontal scaling comes first, as in pygame, and treats each row separately. Vertical scaling takes all rows
        # at once, because the rounding of a row's position depends on the rows before it.
        pygame.transform.smoothscale(self._view, self._narrow.get_size(), self._narrow)
        pygame.transform.smoothscale(self._panel_view, self._lowest.get_size(), self._lowest)
        self._all.blit(pygame.transform.flip(self._narrow, False, True), (0, 0))
        small = pygame.transform.smoothscale(self._all, (_COLUMNS, _ROWS))
        return np.ascontiguousarray(pygame.surfarray.pixels3d(small).transpose(1, 0, 2))


def outgrown(env: CarRacing) -> bool:
    """True if a bar is taller than the rows of the indicators (wheels that spin at more than 400 rad/s)."""
    assert env.car is not None
    unit = _HEIGHT / 40  # a bar starts 1 unit above the lower edge; it is 1 unit long for a value of 1
    speed = 0.02 * env.car.hull.linearVelocity.length
    return bool(unit * (1 + max(speed, *(0.01 * wheel.omega for wheel in env.car.wheels))) >= _PANEL)
