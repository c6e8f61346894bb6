"""Recordings of a session: all of it, or its last seconds."""

from __future__ import annotations

import io
import math
from collections import deque
from pathlib import Path
from typing import Any

import pygame
from PIL import Image

from player.movies import SIDES, check_folder, check_format, few_colours, write_movie
from player.player import Player
from player.screen import Screen

PICTURES = {"gif": 150, "mp4": 5000}  # about so many in total: a GIF of 2 MB, some minutes of MP4
LAST_SECONDS = 8


def picture_of(screen: Screen, player: Player, kind: str) -> Image.Image:
    """The picture of this tick in a recording."""
    surface = screen.draw_recording(player, SIDES[kind])
    return Image.frombytes("RGB", surface.get_size(), pygame.image.tobytes(surface, "RGB"))


class Recorder:
    """Keeps one picture per `stride` ticks, about `PICTURES` in total, compressed."""

    def __init__(self, folder: Path, ticks: int | None, kind: str = "gif") -> None:
        self.path, self.kind = folder / f"dream.{kind}", kind
        self.stride = max(2 if kind == "gif" else 1, math.ceil((ticks or 0) / PICTURES[kind]))
        self.pictures: list[bytes] = []  # PNG
        self.seen = 0
        check_folder(folder)
        check_format(kind)

    def add(self, screen: Screen, player: Player) -> None:
        """Count a tick, and keep its picture if it is one of every `stride`."""
        if self.seen % self.stride == 0:
            picture, data = picture_of(screen, player, self.kind), io.BytesIO()
            (few_colours(picture) if self.kind == "gif" else picture).save(data, "PNG", compress_level=1)
            self.pictures.append(data.getvalue())
        self.seen += 1
        if len(self.pictures) > 1.5 * PICTURES[self.kind]:  # in a long session, drop every second picture
            self.pictures, self.stride = self.pictures[::2], self.stride * 2

    def save(self, ticks_per_second: int) -> Path:
        """Write the file."""
        pictures = (Image.open(io.BytesIO(data)) for data in self.pictures)
        return write_movie(self.path, pictures, self.stride, ticks_per_second)


class LastSeconds:
    """Keeps the pictures of the last LAST_SECONDS seconds, to be saved at any time."""

    def __init__(self, folder: Path, ticks_per_second: int, kind: str = "gif") -> None:
        self.folder, self.rate, self.kind = folder, ticks_per_second, kind
        self.stride = max(2, ticks_per_second // 18)
        self.frames: deque[Any] = deque(maxlen=LAST_SECONDS * ticks_per_second // self.stride)
        self.seen = 0

    def add(self, screen: Screen, player: Player) -> None:
        """Count a tick, and keep its picture if it is one of every `stride`."""
        if self.seen % self.stride == 0:
            self.frames.append(picture_of(screen, player, self.kind))
        self.seen += 1

    def save(self) -> Path:
        """Write a file under the next free name. Raises `InvalidOption` if the folder cannot be written."""
        check_folder(self.folder)
        number = 1
        while (path := self.folder / f"moment-{number}.{self.kind}").exists():
            number += 1
        size = self.frames[-1].size
        return write_movie(path, [frame for frame in self.frames if frame.size == size], self.stride, self.rate)
