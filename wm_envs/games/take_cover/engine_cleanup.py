"""Removes the engine processes, shared memory and scratch folders of games whose process has died."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path

from wm_envs.processes import stat_fields

SCRATCH_PREFIX = "wm-envs-doom-"
_SCRATCH_NAME = re.compile(SCRATCH_PREFIX + r"(\d+)-(\d+)-\w+")  # process id and start time of the owner
INSTANCE_FILE = "instance"  # this file holds the id in the names of the shared memory
_SHARED_MEMORY = Path("/dev/shm")


def start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; `pid` and start time identify a process uniquely.

    None if it has ended, even if nobody has waited for it.
    """
    fields = stat_fields(pid)
    return None if fields[:1] in ([], ["Z"]) else int(fields[19])


def engines_of(parent: int) -> set[int]:
    """Process ids of the ViZDoom engines that `parent` started (Linux; empty elsewhere)."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it ended in the meantime
        if name == "vizdoom" and int(rest.split()[1]) == parent:
            found.add(int(stat.parent.name))
    return found


def instance_id(engine: int) -> str | None:
    """The id in the names of an engine's shared memory, from its command line."""
    try:
        words = Path(f"/proc/{engine}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    return words[words.index("+viz_instance_id") + 1] if "+viz_instance_id" in words else None


def engines_in(scratch: Path) -> list[int]:
    """Process ids of the ViZDoom engines whose working directory is `scratch`."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # another user's process, or it ended in the meantime
            if link.readlink() == scratch.resolve() and (link.parent / "comm").read_text() == "vizdoom\n":
                found.append(int(link.parent.name))
    return found


def sweep() -> int:
    """Remove what games of dead processes left; return the number of such games."""
    swept = 0
    for scratch in Path(tempfile.gettempdir()).glob(SCRATCH_PREFIX + "*"):
        named = _SCRATCH_NAME.fullmatch(scratch.name)
        try:
            if named is None or scratch.is_symlink() or scratch.stat().st_uid != os.getuid():
                continue
        except OSError:
            continue  # another process removes it
        owner, owner_start = int(named[1]), int(named[2])
        if owner_start == 0 or start_time(owner) == owner_start:
            continue
        clear(scratch)
        swept += 1
    return swept


def clear(scratch: Path) -> None:
    """Kill the engines that run in `scratch`, then remove their shared memory and the folder."""
    instances = set()
    with contextlib.suppress(OSError, ValueError):
        instances.add((scratch / INSTANCE_FILE).read_text())
    for engine in engines_in(scratch):  # the owner may have died before it wrote INSTANCE_FILE
        instances.add(instance_id(engine) or "")
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine, signal.SIGKILL)
    for instance in filter(str.isalnum, instances):
        for segment in _SHARED_MEMORY.glob(f"ViZDoom*{instance}"):
            segment.unlink(missing_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)
