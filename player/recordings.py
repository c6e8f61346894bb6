"""Recordings of a session, all of it or its last seconds, as a GIF or an MP4 file, written completely or not at all."""

from __future__ import annotations

import io
import math
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from PIL import Image, ImageOps

from player.install import install_command
from wm_envs.errors import InvalidOption, MissingPackage
from wm_envs.files import write_bytes

GIF_COLOURS = 64
SIDES = {"gif": 5 * 64, "mp4": 8 * 64}  # pixels of a picture's side
QUALITY = 23  # H.264's constant rate factor: lower is better and larger
PICTURES = {"gif": 150, "mp4": 5000}  # about so many in total: a GIF of 2 MB, some minutes of MP4
LAST_SECONDS = 8

Draw = Callable[[int], Any]  # draws this tick: the side of a picture in pixels -> a pygame surface


def picture_of(draw: Draw, kind: str) -> Image.Image:
    """The picture of this tick in a recording."""
    surface = draw(SIDES[kind])
    return Image.frombytes("RGB", surface.get_size(), pygame.image.tobytes(surface, "RGB"))


class Recorder:
    """Keeps one picture per `stride` ticks, about `PICTURES` in total, compressed."""

    def __init__(self, folder: Path, ticks: int | None, kind: str = "gif") -> None:
        self.path, self.kind = folder / f"dream.{kind}", kind
        self.stride = max(2 if kind == "gif" else 1, math.ceil((ticks or 0) / PICTURES[kind]))
        self.pictures: list[bytes] = []  # PNG
        self.ticks = 0
        check_folder(folder)
        check_format(kind)

    def add(self, draw: Draw) -> None:
        """Count a tick, and keep its picture if it is one of every `stride`."""
        if self.ticks % self.stride == 0:
            picture, data = picture_of(draw, self.kind), io.BytesIO()
            (few_colours(picture) if self.kind == "gif" else picture).save(data, "PNG", compress_level=1)
            self.pictures.append(data.getvalue())
        self.ticks += 1
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
        self.pictures: deque[Any] = deque(maxlen=LAST_SECONDS * ticks_per_second // self.stride)
        self.ticks = 0

    def add(self, draw: Draw) -> None:
        """Count a tick, and keep its picture if it is one of every `stride`."""
        if self.ticks % self.stride == 0:
            self.pictures.append(picture_of(draw, self.kind))
        self.ticks += 1

    def save(self) -> Path:
        """Write a file under the next free name. Raises `InvalidOption` if the folder cannot be written."""
        check_folder(self.folder)
        number = 1
        while (path := self.folder / f"moment-{number}.{self.kind}").exists():
            number += 1
        size = self.pictures[-1].size
        return write_movie(path, [picture for picture in self.pictures if picture.size == size], self.stride, self.rate)


def check_format(kind: str) -> None:
    """Raise `MissingPackage` unless files of this format can be written."""
    if kind == "mp4":
        _ffmpeg()


def _ffmpeg() -> Any:
    """The module imageio_ffmpeg, imported when it is first needed."""
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        fix = f"{install_command('play')}, or record with --format gif"
        raise MissingPackage("mp4", "no package imageio-ffmpeg", "the extra 'play'", fix) from error
    return imageio_ffmpeg


def check_folder(folder: Path) -> None:
    """Raise `InvalidOption` unless `folder` can be written, before any playing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        problem = f"{folder} ({error.strerror})"
        raise InvalidOption("record", problem, "a writable folder", "pass another folder to --record") from error


def few_colours(picture: Image.Image) -> Image.Image:
    """The picture with a palette of GIF_COLOURS, without dithering, which compresses badly.

    An octree keeps the colours of small objects (a red car on grass), and needs half the bytes of a median cut.
    """
    return picture.quantize(GIF_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def write_movie(path: Path, pictures: Iterable[Image.Image], ticks_each: int, ticks_per_second: int) -> Path:
    """Write pictures, each `ticks_each` ticks long, in the format of the path's ending; returns the path."""
    same = _same_size(iter(pictures))
    write_bytes(path, _gif(same, ticks_each, ticks_per_second) if path.suffix == ".gif" else _mp4(
        same, ticks_per_second / ticks_each
    ))  # fmt: skip
    return path


def _same_size(pictures: Iterator[Image.Image]) -> Iterator[Image.Image]:
    """The pictures, fitted into the first one's size if they differ (the view has changed): a movie has one size."""
    first = next(pictures)
    yield first
    for picture in pictures:
        yield picture if picture.size == first.size else ImageOps.pad(picture.convert("RGB"), first.size)


def _gif(pictures: Iterator[Image.Image], ticks_each: int, ticks_per_second: int) -> bytes:
    first, *others = (picture if picture.mode == "P" else few_colours(picture) for picture in pictures)
    # A GIF counts in hundredths of a second. Rounding the times, not the durations, keeps the game's speed.
    times = [round(100 * i * ticks_each / ticks_per_second) * 10 for i in range(len(others) + 2)]
    data = io.BytesIO()
    first.save(data, "GIF", save_all=True, append_images=others, duration=np.diff(times).tolist(), loop=0)
    return data.getvalue()


def _mp4(pictures: Iterator[Image.Image], rate: float) -> bytes:
    """One picture after the other goes to ffmpeg: all of them at once would not fit into memory."""
    first = next(pictures)
    with tempfile.TemporaryDirectory(prefix="wm-envs-") as folder:  # ffmpeg writes to files
        path = Path(folder) / "movie.mp4"
        writer = _ffmpeg().write_frames(
            str(path), first.size, fps=rate, codec="libx264", pix_fmt_out="yuv420p", macro_block_size=2, quality=None,
            output_params=["-crf", str(QUALITY), "-movflags", "+faststart"], ffmpeg_log_level="error",
        )  # fmt: skip
        writer.send(None)
        for picture in chain([first], pictures):
            writer.send(picture.convert("RGB").tobytes())
        writer.close()
        return path.read_bytes()
