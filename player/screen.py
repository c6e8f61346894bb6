"""The player's window: it opens, grows with the number of pictures, and draws a scene."""

from __future__ import annotations

import contextlib
import os
import warnings
from typing import Any

import pygame

from player.canvas import DIM, GROUND, LETTERS, MARK, WHITE, Canvas
from player.latents import STRIP, Editor
from player.layout import Layout, Size, arrange, default_side, inside, window_size
from player.panel import Panel
from player.scene import Scene

EDITOR_HELP = ("up, down: choose    left, right: change", "Enter: put it into the dream    L: close")


class Screen:
    """Draws scenes. It needs a display only for `open`.

    `sliders` are the areas that the mouse can drag: "temperature", and in the latent editor the slider's position.
    """

    def __init__(self) -> None:
        self.canvas = Canvas()
        self.sliders: dict[str | int, Any] = {}
        self.panel = Panel(self.canvas, self.sliders)
        self.desktop: Size = (1280, 800)
        self.side, self.pictures = 0, 1  # side of a picture, and how many the window was made for
        self.size: Size | None = None  # the size that the window was given; the user may have changed it

    # --- the window -------------------------------------------------------------------------------------

    def open(self, title: str, pictures: int = 1) -> bool:
        """Open a window for so many pictures side by side; returns False if there is no display."""
        try:
            pygame.display.init()
            # Without a display, SDL falls back to an invisible one. It is accepted only if it was requested.
            if pygame.display.get_driver() in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
                return False
            pygame.display.set_caption(title)
            self.desktop = pygame.display.get_desktop_sizes()[0]
            self.side = default_side(self.desktop)
            self._resize(pictures)
            self.canvas.surface = pygame.display.get_surface()
            self.canvas.text("loading ...", (20, 20), colour=DIM)
            pygame.display.flip()  # the first one makes SDL replace the window, which must not happen later
        except pygame.error:
            return False
        pygame.key.set_repeat()  # a held key counts once
        with contextlib.suppress(pygame.error):  # no gamepad, or a broken one
            pygame.joystick.init()
        return True

    def fit(self, pictures: int) -> None:
        """Widen the window for more pictures, or make it smaller again; the pictures keep their size."""
        if pictures == self.pictures:
            return
        now = pygame.display.get_window_size()
        if now != self.size:  # the user has chosen another size
            self.side = arrange(now, self.pictures).pictures[0][2]
        self._resize(pictures)

    def _resize(self, pictures: int) -> None:
        size = window_size(self.side, pictures, self.desktop)
        opened, self.size, self.pictures = self.size is not None, size, pictures
        if opened:  # set_mode would replace the window by a new one, elsewhere and without the keyboard's focus
            with contextlib.suppress(AttributeError, pygame.error), warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                window = pygame.Window.from_display_module()
                window.size = size
                # SDL may not know where the window stands: even an unchanged position would move it
                if (position := inside(window.position, size, self.desktop)) != tuple(window.position):
                    window.position = position
                return
        pygame.display.set_mode(size, pygame.RESIZABLE)

    def show(self, scene: Scene) -> None:
        """Draw a scene in the window."""
        self.fit(scene.columns)
        surface: Any = pygame.display.get_surface()  # changes when the window is resized
        surface.blit(self.draw(scene, surface.get_size()), (0, 0))
        pygame.display.flip()

    # --- pictures ---------------------------------------------------------------------------------------

    def draw(self, scene: Scene, size: Size) -> Any:
        """A surface of `size`: the pictures, as large as fits, the panel, and a message over the pictures."""
        layout = arrange(size, scene.columns)
        self._pictures(scene, size, layout)
        self.panel.draw(scene, layout.panel)
        self._message(scene, pygame.Rect(layout.area))
        return self.canvas.surface

    def draw_recording(self, scene: Scene, side: int) -> Any:
        """A surface of the pictures alone, each `side` pixels wide, with a line above and below."""
        boxes = [(number * side, 0, side, side) for number in range(scene.columns)]
        width, height = side * scene.columns, self.canvas.line_height() + 2
        self._pictures(scene, (width, side), Layout(boxes, (0, 0, 0, 0)), height)
        self.canvas.strip(scene.scores, pygame.Rect(0, 0, width, height), LETTERS)
        lower = [scene.driver, *([scene.temperature] if scene.temperature else [])]
        self.canvas.strip(lower, pygame.Rect(0, side - height, width, height), LETTERS)
        self._message(scene, pygame.Rect(0, height, width, side - 2 * height))
        return self.canvas.surface

    def _pictures(self, scene: Scene, size: Size, layout: Layout, above: int = 0) -> None:
        """A new surface with the frames, their titles, `above` pixels below the top, and the editor."""
        self.canvas.surface = pygame.Surface(size)
        self.canvas.surface.fill(GROUND)
        self.sliders.clear()
        height = self.canvas.line_height() + 2
        for picture, box in zip(scene.pictures, layout.pictures, strict=False):
            area = pygame.Rect(box)
            self.canvas.frame(picture.frame, area, scene.smooth)
            if picture.title:
                self.canvas.strip(picture.title, pygame.Rect(area.left, area.top + above, area.width, height), LETTERS)
        if scene.editor:
            self._editor(scene.editor, pygame.Rect(layout.pictures[1]))

    def _message(self, scene: Scene, area: Any) -> None:
        size = max(min(area.height // 18, 34), LETTERS)
        title = self.canvas.line_height() + 2 if scene.pictures[0].title else 0
        below = pygame.Rect(area.left, area.top + title, area.width, area.height - title)
        self.canvas.message(scene.message, below, size, scene.message_at_top)

    def _editor(self, editor: Editor, area: Any) -> None:
        """Draw a slider for each dimension in view, and the pictures of what turning the selected one does."""
        self.canvas.surface.fill(GROUND, area)
        line, margin = self.canvas.line_height(), 8
        tile = (area.width - 2 * margin) // len(STRIP)
        foot = area.bottom - (len(EDITOR_HELP) + 1) * line - tile - margin
        row = line + 8
        shown = editor.shown((foot - area.top) // row)
        for number, position in enumerate(shown):
            self._latent(editor, position, pygame.Rect(area.left, area.top + number * row, area.width, row))
        for number, (value, frame) in enumerate(zip(STRIP, editor.strip(), strict=True)):
            box = pygame.Rect(area.left + margin + number * tile, foot, tile - 2, tile - 2)
            self.canvas.frame(frame, box, smooth=True)
            self.canvas.text(f"{value:+.0f}" if value else "0", (box.centerx - 8, box.bottom), colour=DIM)
        for number, words in enumerate(EDITOR_HELP):
            self.canvas.text(words, (area.left + margin, foot + tile + (number + 1) * line), colour=DIM)

    def _latent(self, editor: Editor, position: int, area: Any) -> None:
        colour = MARK if position == editor.selected else WHITE
        words = f"{editor.order[position]}  {editor.name(position)}"
        self.canvas.text(words, (area.left + 8, area.top + 2), colour=colour)
        line = pygame.Rect(area.left + 8, area.bottom - 9, area.width - 16, 8)
        self.canvas.slider(editor.fraction(position), line, colour)
        self.sliders[position] = pygame.Rect(line.left, area.top, line.width, area.height)
