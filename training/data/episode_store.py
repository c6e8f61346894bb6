"""The episode store: parts of whole episodes in zarr, written whole or not at all.

A store is a folder of parts. One writer makes one part, in a temporary folder that is renamed when
everything in it is on disk: a part that is there is complete. Every chunk carries a CRC-32C, so a
damaged one is an error and never a picture of zeros.

    part-00012.zarr/
        frames   (N, 64, 64, 3) uint8    x_t, RGB
        actions  (N, A)         float32  a_t, taken at x_t, as the game executed it
        lengths  (E,)           int32    ticks of each episode, in order; their sum is N
        died     (E,)           bool     the last action ended the game (else the limit did)
        rewards  (N,)           float32  of a_t; only where they are not 1 a tick survived
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from training.data.bounded_zstd import BoundedZstd
from wm_envs.errors import BrokenStore, NoSpace
from wm_envs.files import seal, temporary_name, unseal
from wm_envs.games.base import FRAME_SHAPE
from wm_envs.games.registry import TASKS

FORMAT = "wm-envs-rollouts"
VERSION = 2
CHUNK = 32  # frames that are compressed together
SHARD = 4096  # frames in one file
LARGEST_SHARD = 1 << 16  # frames
LARGEST_HEADER = 1 << 20  # bytes of a zarr.json
LARGEST_PART = 1 << 22  # frames; ours have some ten thousand
PARTS_A_ROUND = 10_000  # parts of round r have the indices from r times it on
HELD_OUT_EVERY = 16  # one part in so many is kept from training

# zarr 3 warns that the checksum codec is not in the specification yet; the format is stable.
warnings.filterwarnings("ignore", message=".*not in the Zarr version 3 specification.*")
warnings.filterwarnings("ignore", message=".*Numcodecs codecs are not.*")


@dataclass
class Episode:
    """One episode of T ticks as it was played."""

    frames: NDArray[np.uint8]  # (T, 64, 64, 3)
    actions: NDArray[np.float32]  # (T, A)
    terminated: bool
    rewards: NDArray[np.float32] | None = None  # (T,); None: 1 a tick


@dataclass(frozen=True)
class Part:
    """One part of a store, its small arrays read, its frames on disk."""

    index: int
    path: Path
    actions: NDArray[np.float32]  # (N, A)
    lengths: NDArray[np.int32]  # (E,)
    terminated: NDArray[np.bool_]  # (E,)
    attributes: dict[str, Any]
    rewards: NDArray[np.float32] | None = None  # (N,); None: 1 a tick

    @cached_property
    def frames(self) -> zarr.Array[Any]:
        """(N, 64, 64, 3) uint8, read chunk by chunk."""
        return zarr.open_array(self.path / "frames", mode="r")

    @property
    def size(self) -> int:
        """N, frames in this part."""
        return len(self.actions)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames start..stop; raises `BrokenStore` when a chunk is damaged."""
        try:
            return np.asarray(self.frames[start:stop])
        except Exception as error:  # zarr raises many classes for damaged chunks
            raise _broken(self.path, f"unreadable frames ({error})") from error


def _broken(path: Path, what: str) -> BrokenStore:
    return BrokenStore("rollout store", f"{path}: {what}", "a complete part", f"remove {path} and run collect again")


def part_path(folder: Path, index: int) -> Path:
    """Where part `index` of the store `folder` is."""
    return folder / f"part-{index:05d}.zarr"


def _index(path: Path) -> int:
    """Which part that is; raises `BrokenStore` for another name."""
    number = path.stem.partition("-")[2]
    if not (number.isascii() and number.isdecimal()):
        raise _broken(path, "no name of a part")
    return int(number)


def write_part(folder: Path, index: int, episodes: list[Episode], attributes: dict[str, Any]) -> Path:
    """Write one part from its episodes; it appears under its name only when it is complete."""
    final = part_path(folder, index)
    temporary = temporary_name(final)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        group = zarr.create_group(temporary, attributes=_header(attributes))
        frames = np.concatenate([episode.frames for episode in episodes])
        _create(group, "frames", frames)
        _create(group, "actions", np.concatenate([episode.actions for episode in episodes]))
        _create(group, "lengths", np.array([len(e.actions) for e in episodes], np.int32))
        _create(group, "terminated", np.array([e.terminated for e in episodes], np.bool_))
        if all(episode.rewards is not None for episode in episodes):
            _create(group, "rewards", np.concatenate([episode.rewards for episode in episodes]))
        _sync(temporary)
        _replace_folder(temporary, final)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace("disk", f"no space left in {folder}", "about 5 kB a frame", "free some space") from error
        raise
    return final


def _replace_folder(new: Path, final: Path) -> None:
    """Rename `new` to `final`; an older `final` goes only when the new one is in its place."""
    aside = temporary_name(final, "old")
    if final.exists():
        final.rename(aside)
    try:
        new.rename(final)
    except OSError:
        if aside.exists():
            aside.rename(final)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _header(attributes: dict[str, Any]) -> dict[str, Any]:
    return seal({"format": FORMAT, "version": VERSION} | attributes)


def _create(group: zarr.Group, name: str, data: NDArray[Any]) -> None:
    length = max(1, len(data))
    chunk = (min(CHUNK, length) if name == "frames" else length, *data.shape[1:])
    shard = (SHARD, *data.shape[1:]) if name == "frames" and length >= SHARD else None
    group.create_array(
        name, data=data, chunks=chunk, shards=shard, compressors=[ZstdCodec(level=3), Crc32cCodec()],
        config={"write_empty_chunks": True},  # so that a file that is not there is one that was lost
    )  # fmt: skip


def _whole_on_disk(array: Any) -> bool:
    """Whether every file of an array is there: zarr reads a lost one as zeros, silently."""
    files = -(-array.shape[0] // (array.shards or array.chunks)[0])
    there = array.store_path.store.root / array.store_path.path / "c"
    return sum(path.is_file() for path in there.rglob("*")) == files


def _sync(folder: Path) -> None:
    """Force every file below `folder` to disk (zarr's own store never does)."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_part(path: Path, task: str | None = None) -> Part:
    """Open one part and check that it is what it says; raises `BrokenStore`."""
    if path.is_symlink() or not (path / "zarr.json").is_file():
        raise _broken(path, "not a part of a store")
    try:
        index = _index(path)
        _check_files(path)
        group = zarr.open_group(path, mode="r")
        attributes = unseal(dict(group.attrs))
        known = TASKS.get(str(attributes.get("task")))
        if attributes.get("format") != FORMAT or attributes.get("version") != VERSION or known is None:
            said = [attributes.get(name) for name in ("format", "version", "task")]
            raise ValueError(f"format, version and task are {said}")
        names = ("frames", "actions", "lengths", "terminated", *([] if known.survival else ["rewards"]))
        arrays: dict[str, Any] = {name: group[name] for name in names}
        _check_layout(arrays, known.action_size)
        if not all(_whole_on_disk(array) for array in arrays.values()):
            raise ValueError("a chunk is missing")
        small = {name: np.asarray(array[:]) for name, array in arrays.items() if name != "frames"}
    except Exception as error:  # zarr raises many classes for damaged files
        raise _broken(path, f"unreadable ({error})") from error
    if task is not None and attributes.get("task") != task:
        raise _broken(path, f"of task {attributes.get('task')!r}, not {task!r}")
    lengths = small["lengths"]
    if not bool((lengths > 0).all()) or int(lengths.sum()) != len(small["actions"]):
        raise _broken(path, "lengths of episodes that are not those of the frames")
    if not all(bool(np.isfinite(values).all()) for values in small.values()):
        raise _broken(path, "values that are not finite")
    return Part(index, path, attributes=attributes, **small)


def _check_files(path: Path) -> None:
    """A part has plain files and folders only, and short headers: a pipe in it would be waited for, for ever."""
    for entry in path.rglob("*"):
        kind = entry.lstat()
        if not stat.S_ISDIR(kind.st_mode) and not stat.S_ISREG(kind.st_mode):
            raise ValueError(f"{entry.name} is no plain file")
        if entry.name == "zarr.json" and kind.st_size > LARGEST_HEADER:
            raise ValueError(f"a header of {kind.st_size} bytes")


def _check_codecs(codecs: Any) -> bool:
    """Whether chunks are decoded by those that `_create` names, and by no other: others may unpack without a bound."""
    kinds = {type(codec) for codec in codecs}
    within = all(_check_codecs(part.codecs) for part in codecs if isinstance(part, ShardingCodec))
    known = kinds <= {BytesCodec, BoundedZstd, Crc32cCodec} and Crc32cCodec in kinds
    return within and (known or kinds == {ShardingCodec})


def _check_layout(arrays: dict[str, Any], action_size: int) -> None:
    """Shapes, types and chunks must be as `write_part` makes them, before anything is allocated by them."""
    total, episodes = arrays["frames"].shape[0], arrays["lengths"].shape[0]
    expected = {
        "frames": ((total, *FRAME_SHAPE), np.uint8),
        "actions": ((total, action_size), np.float32),
        "lengths": ((episodes,), np.int32),
        "terminated": ((episodes,), np.bool_),
        "rewards": ((total,), np.float32),
    }
    if not 0 < episodes <= total <= LARGEST_PART:
        raise ValueError(f"{episodes} episodes of {total} frames")
    for name, array in arrays.items():
        shape, kind = expected[name]
        if array.shape != shape or array.dtype != kind:
            raise ValueError(f"{name} of shape {array.shape} and type {array.dtype} instead of {shape} and {kind}")
        if any(part > max(whole, 1) for part, whole in zip(array.chunks, shape, strict=True)):
            raise ValueError(f"{name} in chunks of {array.chunks}")
        if not _check_codecs(array.metadata.codecs):
            raise ValueError(f"{name} packed by {array.metadata.codecs}")
    if max(arrays["frames"].chunks[0], (arrays["frames"].shards or [0])[0]) > LARGEST_SHARD:
        raise ValueError(f"frames in chunks of {arrays['frames'].chunks[0]}")


class RolloutStore:
    """All parts of a store in order, split by part (so by episode) into training and held-out."""

    def __init__(self, folder: Path, task: str | None = None, rounds: int = 0) -> None:
        """Parts of the first `rounds` rounds of play (0: of all)."""
        self.folder = folder
        paths = sorted(folder.glob("part-*.zarr")) if folder.is_dir() else []
        if rounds:
            paths = [path for path in paths if _index(path) < rounds * PARTS_A_ROUND]
        self.parts = [read_part(path, task) for path in paths]
        if not self.parts:
            raise BrokenStore(
                "rollout store",
                f"{folder}{f', rounds up to {rounds - 1}' * bool(rounds)}",
                "a folder with parts",
                "run `python -m training collect` first",
            )

    def split(self) -> tuple[list[Part], list[Part]]:
        """(training parts, held-out parts); at least one of each, which a lone part is both."""
        held = [part for part in self.parts if part.index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
        held = held or self.parts[-1:]
        names = {part.index for part in held}
        return [part for part in self.parts if part.index not in names] or held, held

    @property
    def size(self) -> int:
        """Frames in the whole store."""
        return sum(part.size for part in self.parts)
