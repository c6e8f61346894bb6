"""Writing that is never half done: to a temporary file, synced, renamed over the old one; by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wm_envs.errors import FolderBusy, NoSpace

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out there
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = re.compile(r"\.(.+)\.(\d+)\.(tmp|old)")


def temporary_name(path: Path, ending: str = "tmp") -> Path:
    """Where this process writes what will be `path`, or keeps what was ("old"); `sweep` knows by it whose it is."""
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


@contextlib.contextmanager
def file_lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from working on `path`, a file or folder, until the block is left, however that happens.

    Raises `FolderBusy` when another one does, unless it is to `wait`. What killed processes left half written beside
    `path` is cleared away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a+") as lock:
        if fcntl is not None:
            try:  # the system lets go of it when the process ends, even if it is killed
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                lock.seek(0)
                raise FolderBusy(
                    "run folder",
                    f"{path}, in which process {lock.read().strip() or '?'} works",
                    "a folder that no other process works in",
                    "wait for it, stop it, or give another --run or --name",
                ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        sweep(path.parent)
        yield


def sweep(folder: Path) -> None:
    """Remove temporary files and folders in `folder` whose process is no more; what it had put aside comes back."""
    for path in sorted(folder.iterdir()):
        named = _TEMPORARY.fullmatch(path.name)
        if named and not _lives(int(named[2])):
            if named[3] == "old" and not (folder / named[1]).exists():
                path.rename(folder / named[1])
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # another user's
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all; raises `NoSpace` when the disk is full."""
    path = Path(path)
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                "disk", f"no space left for {path}", f"{len(data)} bytes", "free some space and run again"
            ) from error
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def check_regular(path: Path, largest: int) -> None:
    """Raises `ValueError` unless `path` is a regular file of at most `largest` bytes, or `OSError`.

    A pipe would be waited for, and a device read, for ever.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > largest:
        raise ValueError(f"no file of at most {largest} bytes")


def read_bytes(path: Path, largest: int) -> bytes:
    """All of a file; raises what `check_regular` does."""
    check_regular(path, largest)
    return path.read_bytes()


def read_json(path: Path, largest: int = 1 << 28) -> dict[str, Any]:
    """The object of `write_json`, or one without a seal; raises `ValueError` for anything else, or `OSError`."""
    try:
        return unseal(json.loads(read_bytes(path, largest)))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def write_json(path: Path, values: dict[str, Any]) -> None:
    """`write_text` of an object with its seal."""
    write_text(path, json.dumps(seal(values), indent=1) + "\n")


def seal(values: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with a checksum of all that it holds, as "crc32": JSON itself does not notice a changed digit."""
    return values | {"crc32": _checksum(values)}


def unseal(values: Any) -> dict[str, Any]:
    """What was sealed, or an object without a seal as it is; raises `ValueError` when the seal does not fit."""
    if not isinstance(values, dict):
        raise ValueError("no JSON object")
    inner = {name: value for name, value in values.items() if name != "crc32"}
    if values.get("crc32", said := _checksum(inner)) != said:
        raise ValueError("it does not have the checksum that it says: damaged, or edited without removing its crc32")
    return inner


def _checksum(values: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"
