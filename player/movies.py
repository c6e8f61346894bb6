"""Pictures to a GIF or an MP4 file, written completely or not at all."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from player.game_opening import install_command
from wm_envs.errors import InvalidOption, MissingPackage
from wm_envs.files import write_bytes

FORMATS = ("gif", "mp4")
GIF_COLOURS = 64
SIDES = {"gif": 5 * 64, "mp4": 8 * 64}  # pixels of a picture's side
QUALITY = 23  # H.264's constant rate factor: lower is better and larger


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
        given = f"{folder} ({error.strerror})"
        raise InvalidOption("record", given, "a writable folder", "pass another folder to --record") from error


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
