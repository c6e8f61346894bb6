"""A window for frames, opened when the first one is shown."""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from wm_envs.errors import MissingPackage


class Window:
    """Shows frames (64, 64, 3), scaled to (size, size, 3) without smoothing, at `fps` frames a second.

    Without a display it warns and shows nothing, as Gymnasium's own environments do.
    """

    def __init__(self, title: str, fps: float, size: int = 512) -> None:
        self.title, self.fps, self.size = title, fps, size
        self._screen: Any = None
        self._clock: Any = None

    def show(self, frame: NDArray[np.uint8]) -> None:
        """Draw a frame and wait until it is time for the next one."""
        try:
            import pygame
        except ImportError as error:
            raise MissingPackage(
                "pygame", "not installed", "the extra 'play'", "pip install 'wm-envs[play]'"
            ) from error
        size = (self.size, self.size)
        if self._screen is None:
            pygame.display.init()
            # Without a display SDL uses an invisible one, also when SDL_VIDEODRIVER does not ask for that.
            if pygame.display.get_driver() in ("dummy", "offscreen") and not os.environ.get("SDL_VIDEODRIVER"):
                gym.logger.warn('There is no display: render_mode="human" shows nothing. Use "rgb_array" here.')
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
