"""The episode store: parts of whole episodes in zarr, each written completely or not at all.

A store is a folder of parts. A part is written to a temporary folder, which is renamed when everything in it is on
disk, so every part in the store is complete. Every chunk has a CRC-32C checksum, so a damaged chunk is an error.

    part-00012.zarr/
        frames      (N, 64, 64, 3) uint8    x_t, RGB
        actions     (N, A)         float32  a_t, taken at x_t: `Actions.to_game` of the agent's action
        lengths     (E,)           int32    ticks of each episode, in order; their sum is N
        terminated  (E,)           bool     the last action ended the game (False: a limit of time did)
        rewards     (N,)           float32  of a_t; absent for survival tasks, whose reward is 1 per tick
        objects     (N, K, 64, 8)  uint8    pixels of x_t that each of K kinds of objects covers, as bits; only with
                                            `collect --objects`
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wm_envs.errors import BrokenStore, InvalidOption, NoSpace
from wm_envs.files import JsonObject, seal, temporary_name, unseal
from wm_envs.games.base import FRAME_SHAPE, Task
from wm_envs.games.registry import TASKS, get_task, short_name

if TYPE_CHECKING:
    import zarr

FORMAT = "wm-envs-rollouts"
VERSION = 2
IMAGES = ("frames", "objects")  # arrays that stay on disk
CHUNK = 32  # frames that are compressed together
SHARD = 4096  # frames in one file
MAX_SHARD_FRAMES = 1 << 16
MAX_HEADER_BYTES = 1 << 20  # of a zarr.json
MAX_PART_FRAMES = 1 << 22  # `collect` writes about ten thousand
PARTS_A_ROUND = 10_000  # parts of round r have indices from r * PARTS_A_ROUND
HELD_OUT_EVERY = 16  # one part in 16 is held out from training

# zarr 3 warns that the checksum codec is not in the specification yet; the format is stable.
warnings.filterwarnings("ignore", message=".*not in the Zarr version 3 specification.*")
warnings.filterwarnings("ignore", message=".*Numcodecs codecs are not.*")


def _zarr() -> Any:
    """Zarr with the codec of `bounded_zstd`. It is of the extra 'train', which --help does not need."""
    from training.data import bounded_zstd

    return bounded_zstd.zarr


@dataclass
class Episode:
    """One recorded episode of T ticks."""

    frames: NDArray[np.uint8]  # (T, 64, 64, 3)
    actions: NDArray[np.float32]  # (T, A)
    terminated: bool
    rewards: NDArray[np.float32] | None = None  # (T,); None: 1 per tick
    objects: NDArray[np.bool_] | None = None  # (T, K, 64, 64) pixels of K kinds of objects; None: not recorded


@dataclass(frozen=True)
class Part:
    """One part of a store: its small arrays are in memory, its frames stay on disk."""

    index: int
    path: Path
    actions: NDArray[np.float32]  # (N, A)
    lengths: NDArray[np.int32]  # (E,)
    terminated: NDArray[np.bool_]  # (E,)
    attributes: JsonObject
    rewards: NDArray[np.float32] | None = None  # (N,); None: 1 per tick
    has_objects: bool = False

    @cached_property
    def frames(self) -> zarr.Array[Any]:
        """(N, 64, 64, 3) uint8, read chunk by chunk."""
        return _zarr().open_array(self.path / "frames", mode="r")

    @property
    def size(self) -> int:
        """N, the number of frames."""
        return len(self.actions)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames [start, stop), (n, 64, 64, 3) uint8. Raises `BrokenStore` if a chunk is damaged."""
        return self._read("frames", start, stop)

    def read_objects(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Pixels of objects in frames [start, stop), (n, K, 64, 64) bool. Raises `BrokenStore`."""
        return np.unpackbits(self._read("objects", start, stop), axis=3).astype(bool)

    @cached_property
    def objects(self) -> zarr.Array[Any]:
        """(N, K, 64, 8) uint8, the pixels of objects as bits."""
        return _zarr().open_array(self.path / "objects", mode="r")

    def _read(self, name: str, start: int, stop: int) -> NDArray[np.uint8]:
        try:
            return np.asarray(getattr(self, name)[start:stop])
        except Exception as error:  # zarr raises many classes for damaged metadata and chunks
            raise _broken(self.path, f"{name} cannot be read ({error})") from error


def _broken(path: Path, problem: str) -> BrokenStore:
    return BrokenStore("episode store", f"{path}: {problem}", "a complete part", f"remove {path} and run collect again")


def part_path(folder: Path, index: int) -> Path:
    """The path of part `index` in the store `folder`."""
    return folder / f"part-{index:05d}.zarr"


def _index(path: Path) -> int:
    """The index of a part, from its name. Raises `BrokenStore` for another kind of name."""
    number = path.stem.partition("-")[2]
    if not (number.isascii() and number.isdecimal()):
        raise _broken(path, "the name is not part-NUMBER.zarr")
    return int(number)


def next_round(folder: Path) -> int:
    """The index of the first part of a round that the store does not have yet."""
    rounds = [_index(path) // PARTS_A_ROUND for path in folder.glob("part-*.zarr")]
    return (max(rounds, default=-1) + 1) * PARTS_A_ROUND


def write_part(folder: Path, index: int, episodes: list[Episode], attributes: JsonObject) -> Path:
    """Write one part from its episodes, completely or not at all; returns its path. Raises `NoSpace`."""
    final = part_path(folder, index)
    temporary = temporary_name(final)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        group = _zarr().create_group(temporary, attributes=_header(attributes))
        frames = np.concatenate([episode.frames for episode in episodes])
        _create(group, "frames", frames)
        _create(group, "actions", np.concatenate([episode.actions for episode in episodes]))
        _create(group, "lengths", np.array([len(e.actions) for e in episodes], np.int32))
        _create(group, "terminated", np.array([e.terminated for e in episodes], np.bool_))
        if all(episode.rewards is not None for episode in episodes):
            _create(group, "rewards", np.concatenate([episode.rewards for episode in episodes]))
        if all(episode.objects is not None for episode in episodes):
            _create(group, "objects", np.packbits(np.concatenate([e.objects for e in episodes]), axis=3))
        _sync(temporary)
        _replace_folder(temporary, final)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            expected = "about 5 kB per frame"
            raise NoSpace("disk", f"no space left in {folder}", expected, "free some space and run again") from error
        raise
    return final


def _replace_folder(new: Path, final: Path) -> None:
    """Rename `new` to `final`. An older `final` is removed only after that."""
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


def _header(attributes: JsonObject) -> JsonObject:
    return seal({"format": FORMAT, "version": VERSION} | attributes)


def _create(group: zarr.Group, name: str, data: NDArray[Any]) -> None:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    length = max(1, len(data))
    chunk = (min(CHUNK, length) if name in IMAGES else length, *data.shape[1:])
    shard = (SHARD, *data.shape[1:]) if name in IMAGES and length >= SHARD else None
    group.create_array(
        name, data=data, chunks=chunk, shards=shard, compressors=[ZstdCodec(level=3), Crc32cCodec()],
        config={"write_empty_chunks": True},  # so that a missing file always means lost data
    )  # fmt: skip


def _has_all_files(array: Any) -> bool:
    """Whether every file of an array exists; zarr reads a missing one as zeros, without an error."""
    files = -(-array.shape[0] // (array.shards or array.chunks)[0])
    folder = array.store_path.store.root / array.store_path.path / "c"
    return sum(path.is_file() for path in folder.rglob("*")) == files


def _sync(folder: Path) -> None:
    """Flush every file below `folder` to disk, which zarr does not do."""
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
    """Open one part and check it. With `task`, it must be of that task. Raises `BrokenStore`, or
    `InvalidOption` for another task."""
    if path.is_symlink() or not (path / "zarr.json").is_file():
        raise _broken(path, "not a folder with a zarr.json")
    try:
        index = _index(path)
        _check_files(path)
        group = _zarr().open_group(path, mode="r")
        attributes = unseal(dict(group.attrs))
        if attributes.get("format") != FORMAT or attributes.get("version") != VERSION:
            raise ValueError(f"format and version are {[attributes.get(name) for name in ('format', 'version')]}")
        known = get_task(str(attributes.get("task")))
        names = ["frames", "actions", "lengths", "terminated", *([] if known.rewards.survival else ["rewards"])]
        names += ["objects"] if "objects" in group else []
        arrays: dict[str, Any] = {name: group[name] for name in names}
        _check_layout(arrays, known)
        if not all(_has_all_files(array) for array in arrays.values()):
            raise ValueError("a chunk is missing")
        small = {name: np.asarray(array[:]) for name, array in arrays.items() if name not in IMAGES}
    except Exception as error:  # zarr raises many classes for damaged files
        raise _broken(path, f"it cannot be read ({error})") from error
    if task is not None and attributes.get("task") != task:
        found = str(attributes["task"])
        fix = f"give --task {found}" if found in TASKS else "give no --env, which then is that of the run"
        expected = f"{short_name(found, task)}, the game of {path}"
        raise InvalidOption("task", short_name(task, found), expected, f"{fix}, or another --run")
    lengths = small["lengths"]
    if not bool((lengths > 0).all()) or int(lengths.sum()) != len(small["actions"]):
        raise _broken(path, "the episode lengths do not add up to the number of frames")
    if not all(bool(np.isfinite(values).all()) for values in small.values()):
        raise _broken(path, "some values are not finite")
    return Part(index, path, attributes=attributes, has_objects="objects" in arrays, **small)


def _check_files(path: Path) -> None:
    """Raise `ValueError` unless a part has only regular files and folders, and short headers.

    Reading a pipe could block for ever.
    """
    for entry in path.rglob("*"):
        kind = entry.lstat()
        if not stat.S_ISDIR(kind.st_mode) and not stat.S_ISREG(kind.st_mode):
            raise ValueError(f"{entry.name} is not a regular file")
        if entry.name == "zarr.json" and kind.st_size > MAX_HEADER_BYTES:
            raise ValueError(f"zarr.json has {kind.st_size} bytes, more than {MAX_HEADER_BYTES}")


def _check_codecs(codecs: Any) -> bool:
    """Whether the codecs are those of `_create`, with a checksum; other codecs may decompress without a size limit."""
    from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec

    from training.data.bounded_zstd import BoundedZstd

    kinds = {type(codec) for codec in codecs}
    within = all(_check_codecs(part.codecs) for part in codecs if isinstance(part, ShardingCodec))
    known = kinds <= {BytesCodec, BoundedZstd, Crc32cCodec} and Crc32cCodec in kinds
    return within and (known or kinds == {ShardingCodec})


def _check_layout(arrays: dict[str, Any], task: Task) -> None:
    """Raise `ValueError` unless shapes, types and chunks are those of `write_part`, before memory is allocated."""
    total, episodes = arrays["frames"].shape[0], arrays["lengths"].shape[0]
    expected = {
        "frames": ((total, *FRAME_SHAPE), np.uint8),
        "actions": ((total, task.actions.size), np.float32),
        "lengths": ((episodes,), np.int32),
        "terminated": ((episodes,), np.bool_),
        "rewards": ((total,), np.float32),
        "objects": ((total, len(task.objects), FRAME_SHAPE[0], FRAME_SHAPE[1] // 8), np.uint8),
    }
    if not 0 < episodes <= total <= MAX_PART_FRAMES:
        raise ValueError(f"{episodes} episodes with {total} frames in total")
    for name, array in arrays.items():
        shape, kind = expected[name]
        if array.shape != shape or array.dtype != kind:
            raise ValueError(f"{name} has shape {array.shape} and type {array.dtype} instead of {shape} and {kind}")
        if any(part > max(whole, 1) for part, whole in zip(array.chunks, shape, strict=True)):
            raise ValueError(f"{name} has chunks of {array.chunks}")
        if not _check_codecs(array.metadata.codecs):
            raise ValueError(f"{name} has the codecs {array.metadata.codecs}")
        if name in IMAGES and max(array.chunks[0], (array.shards or [0])[0]) > MAX_SHARD_FRAMES:
            raise ValueError(f"{name} has chunks of {array.chunks[0]}")


class RolloutStore:
    """All parts of a store in order; `split` divides them into training and held-out parts.

    With `task`, all parts must be of that task. With `rounds`, only the first rounds of `collect` are used.
    Raises `BrokenStore`.
    """

    def __init__(self, folder: Path, task: str | None = None, rounds: int | None = None) -> None:
        self.folder = folder
        paths = sorted(folder.glob("part-*.zarr")) if folder.is_dir() else []
        if rounds:
            paths = [path for path in paths if _index(path) < rounds * PARTS_A_ROUND]
        self.parts = [read_part(path, task) for path in paths]
        if not self.parts:
            raise BrokenStore(
                "episode store",
                f"{folder}{f', rounds up to {rounds - 1}' if rounds else ''}, without a part",
                "a folder with at least one part",
                "run `python -m training collect` first",
            )

    def split(self) -> tuple[list[Part], list[Part]]:
        """(training parts, held-out parts), at least one each; a single part is used for both.

        One part in 16 of every round is held out. Of a shorter round with several parts it is the last one, so that the
        play of every round is measured.
        """
        held = []
        for _, of_round in itertools.groupby(self.parts, key=lambda part: part.index // PARTS_A_ROUND):
            parts = list(of_round)
            chosen = [part for part in parts if part.index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
            held += chosen or parts[1:][-1:]
        held = held or self.parts[-1:]
        names = {part.index for part in held}
        return [part for part in self.parts if part.index not in names] or held, held

    @property
    def size(self) -> int:
        """The number of frames in the store."""
        return sum(part.size for part in self.parts)
