"""Make the pictures of the player and the two films of the home page: `python docs/pictures.py`, about a minute.

`python -m experiments.cheating` makes cheating.png, and `examples/from_tables_to_dreams.py`
from-tables-to-dreams.png.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
sys.path.insert(0, str(IMAGES.parents[1]))
os.environ |= {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "WM_ENVS_DATA": tempfile.mkdtemp()}
import pygame  # noqa: E402

import play  # noqa: E402


def picture(name: str, options: str, frames: int, keys: dict[int, int] | None = None) -> None:
    """Play in a window that nobody sees; press each key at its frame and save the screen after so many frames."""
    flip, shown = pygame.display.flip, 0

    def count() -> None:
        nonlocal shown
        flip()
        shown += 1
        if shown in (keys or {}):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=(keys or {})[shown], mod=0, unicode=""))
        if shown == frames:
            pygame.image.save(pygame.display.get_surface(), IMAGES / name)
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    pygame.display.flip = count
    try:
        play.main(options.split())
    finally:
        pygame.display.flip = flip


def film(name: str, options: str) -> None:
    """Record a dream."""
    with tempfile.TemporaryDirectory() as folder:
        play.main(["--headless", "--record", folder, *options.split()])
        shutil.copyfile(Path(folder) / "dream.gif", IMAGES / name)


if __name__ == "__main__":
    picture("play-start.png", "", 60)
    picture("play-both.png", "--world carracing --view both --driver controller --seed 3", 150)
    editor = {230: pygame.K_l, 235: pygame.K_DOWN}
    picture("play-latents.png", "--world takecover-paper --driver controller --seed 3", 270, editor)
    film("takecover.gif", "--world takecover --seed 1 --steps 230")
    film("carracing.gif", "--world carracing --steps 380")
