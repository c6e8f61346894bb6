"""A window for frames, opened when the first one is shown."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wm_envs.errors import InvalidOption, MissingPackage


class Window:
    """Shows frames (64, 64, 3), scaled crisply, at `fps` frames a second."""

    def __init__(self, title: str, fps: float, scale: int = 8) -> None:
        self.title, self.fps, self.scale = title, fps, scale
        self._screen: Any = None
        self._clock: Any = None

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Draw a frame and wait until its time is over."""
        try:
            import pygame
        except ImportError as error:
            raise MissingPackage(
                "pygame", "not installed", "the extra 'play'", "pip install 'wm-envs[play]'"
            ) from error
        size = (frame.shape[1] * self.scale, frame.shape[0] * self.scale)
        if self._screen is None:
            pygame.display.init()
            # Without a display SDL falls back to one that nobody can see, unless it was asked for.
            if pygame.display.get_driver() in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
                pygame.display.quit()
                raise InvalidOption("render_mode", "human", "a display", 'use render_mode="rgb_array" here')
            pygame.display.set_caption(self.title)
            self._screen = pygame.display.set_mode(size)
            self._clock = pygame.time.Clock()
        surface = pygame.surfarray.make_surface(frame.swapaxes(0, 1))
        self._screen.blit(pygame.transform.scale(surface, size), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self.fps)

    def close(self) -> None:
        """Close the window, if one is open."""
        if self._screen is not None:
            import pygame

            pygame.display.quit()
            self._screen = None
