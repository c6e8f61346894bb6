"""Files that are written completely or not at all, by one process at a time.

Data goes to a temporary file, which is synced and then renamed over the old one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wm_envs.errors import FolderBusy, NoSpace
from wm_envs.processes import stat_fields

try:
    import fcntl
except ImportError:  # Windows: files are not locked there
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = re.compile(r"\.(.+)\.(\d+)\.(tmp|old)")

JsonObject = dict[str, Any]  # an object in a JSON file, not yet read as one of our types


def temporary_name(path: Path, ending: str = "tmp") -> Path:
    """The temporary name for a new `path` ("tmp") or for the file it replaces ("old").

    It holds the id of this process, by which `sweep` recognises leftovers.
    """
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


@contextlib.contextmanager
def file_lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Lock `path`, a file or folder, against other processes until the block ends.

    If another process holds the lock, waits (`wait`) or raises `FolderBusy`. Temporary files that killed processes
    left beside `path` are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a+") as lock:
        if fcntl is not None:
            try:  # the system releases the lock when the process ends, even if it is killed
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                lock.seek(0)
                raise FolderBusy(
                    "run folder",
                    f"{path}, in use by process {lock.read().strip() or '?'}",
                    "a folder that no other process uses",
                    "wait for that process, stop it, or pass another --run or --name",
                ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        sweep(path.parent)
        yield


def sweep(folder: Path) -> None:
    """Remove temporary files and folders in `folder` whose process has ended; restore an "old" one that has no new."""
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
    if sys.platform == "win32":  # os.kill would send it Ctrl-C: what killed processes left stays there
        return True
    if stat_fields(process)[:1] == ["Z"]:  # in a container without an init an orphan stays so for ever
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # a process of another user
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, completely or not at all. Raises `NoSpace` if the disk is full."""
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
                "disk", f"no space left for {path}", f"{len(data)} free bytes", "free some space and run again"
            ) from error
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for text, as UTF-8."""
    write_bytes(path, text.encode())


def check_regular(path: Path, max_bytes: int) -> None:
    """Raise `ValueError` unless `path` is a regular file of at most `max_bytes`; `OSError` if it cannot be read.

    Reading a pipe or a device could block for ever.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > max_bytes:
        raise ValueError(f"not a regular file of at most {max_bytes} bytes")


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The contents of a file. Raises the errors of `check_regular`."""
    check_regular(path, max_bytes)
    return path.read_bytes()


def read_json(path: Path, max_bytes: int = 1 << 28) -> JsonObject:
    """The JSON object in a file, with its checksum checked if it has one. Raises `ValueError` or `OSError`."""
    try:
        return unseal(json.loads(read_bytes(path, max_bytes)))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write a JSON object with a checksum; see `seal`."""
    write_text(path, json.dumps(seal(values), indent=1) + "\n")


def seal(values: Mapping[str, object]) -> dict[str, object]:
    """`values` with a checksum of them as "crc32", which detects a changed digit."""
    return {**values, "crc32": _checksum(values)}


def unseal(values: Any) -> JsonObject:
    """`values` without their checksum. Raises `ValueError` if it is wrong; an object without a checksum is accepted."""
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    inner = {name: value for name, value in values.items() if name != "crc32"}
    if values.get("crc32", expected := _checksum(inner)) != expected:
        raise ValueError("the checksum does not match: the file is damaged, or was edited without removing its crc32")
    return inner


def _checksum(values: Mapping[str, object]) -> str:
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"
