"""Writing that is never half done: to a temporary file, synced, then renamed over the old one."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from wm_envs.errors import NoSpace


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all; raises `NoSpace` when the disk is full."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
