"""GIF recordings of a session: all of it, or its last seconds."""

from __future__ import annotations

import io
import math
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from PIL import Image, ImageOps

from player.player import Player
from player.screen import Screen
from wm_envs.errors import InvalidOption
from wm_envs.files import write_bytes

GIF_SCALE, GIF_FRAMES, GIF_COLOURS = 5, 150, 64  # keep a GIF below about 2 MB
LAST_SECONDS = 8


def check_folder(folder: Path) -> None:
    """Raise `InvalidOption` unless `folder` can be written, before any playing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        given = f"{folder} ({error.strerror})"
        raise InvalidOption("record", given, "a writable folder", "pass another folder to --record") from error


def picture_of(screen: Screen, player: Player) -> Image.Image:
    """The screen's picture at GIF size."""
    size = (64 * GIF_SCALE * player.panels, 64 * GIF_SCALE)
    return Image.frombytes("RGB", size, pygame.image.tobytes(screen.draw(player, size), "RGB"))


def few_colours(picture: Image.Image) -> Image.Image:
    """The picture with a palette of GIF_COLOURS, without dithering, which compresses badly.

    An octree keeps the colours of small objects (a red car on grass), and needs half the bytes of a median cut.
    """
    return picture.quantize(GIF_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def write_gif(path: Path, pictures: list[Any], stride: int, ticks_per_second: int) -> Path:
    """Write pictures, one per `stride` ticks, as a GIF, completely or not at all."""
    # A GIF counts in hundredths of a second. Rounding the times, not the durations, keeps the game's speed.
    times = [round(100 * i * stride / ticks_per_second) * 10 for i in range(len(pictures) + 1)]
    data = io.BytesIO()
    first, *others = pictures
    first.save(data, "GIF", save_all=True, append_images=others, duration=np.diff(times).tolist(), loop=0)
    write_bytes(path, data.getvalue())
    return path


class Recorder:
    """Keeps one picture per `stride` ticks, about `GIF_FRAMES` in total."""

    def __init__(self, folder: Path, ticks: int | None) -> None:
        self.path = folder / "dream.gif"
        self.stride = max(2, math.ceil((ticks or 0) / GIF_FRAMES))
        self.pictures: list[Any] = []
        self.seen = 0
        check_folder(folder)

    def add(self, screen: Screen, player: Player) -> None:
        """Count a tick, and keep its picture if it is one of every `stride`."""
        if self.seen % self.stride == 0:
            picture = picture_of(screen, player)
            if self.pictures and picture.size != self.pictures[0].size:  # the view changed: a GIF has one size
                picture = ImageOps.pad(picture, self.pictures[0].size)
            self.pictures.append(few_colours(picture))
        self.seen += 1
        if len(self.pictures) > 1.5 * GIF_FRAMES:  # in a long session, drop every second picture
            self.pictures, self.stride = self.pictures[::2], self.stride * 2

    def save(self, ticks_per_second: int) -> Path:
        """Write the GIF."""
        return write_gif(self.path, self.pictures, self.stride, ticks_per_second)


class LastSeconds:
    """Keeps the pictures of the last LAST_SECONDS seconds, to be saved at any time."""

    def __init__(self, folder: Path, ticks_per_second: int) -> None:
        self.folder, self.rate = folder, ticks_per_second
        self.stride = max(2, ticks_per_second // 18)
        self.frames: deque[Any] = deque(maxlen=LAST_SECONDS * ticks_per_second // self.stride)
        self.seen = 0

    def add(self, screen: Screen, player: Player) -> None:
        """Count a tick, and keep its picture if it is one of every `stride`; `save` reduces the colours."""
        if self.seen % self.stride == 0:
            self.frames.append(picture_of(screen, player))
        self.seen += 1

    def save(self) -> Path:
        """Write a GIF under the next free name. Raises `InvalidOption` if the folder cannot be written."""
        check_folder(self.folder)
        number = 1
        while (path := self.folder / f"moment-{number}.gif").exists():
            number += 1
        size = self.frames[-1].size
        same = [few_colours(frame) for frame in self.frames if frame.size == size]
        return write_gif(path, same, self.stride, self.rate)
