"""Nothing of a ViZDoom engine stays behind: processes, shared memory and scratch folders of dead owners are removed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path

SCRATCH_PREFIX = "wm-envs-doom-"
_SCRATCH_NAME = re.compile(SCRATCH_PREFIX + r"(\d+)-(\d+)-\w+")  # its owner's process id and start time
INSTANCE_FILE = "instance"  # the id in the names of its shared memory
_SHARED_MEMORY = Path("/dev/shm")


def start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (with `pid` it names a process for good)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def engines_of(parent: int) -> set[int]:
    """Process ids of the ViZDoom engines that `parent` started (Linux; empty elsewhere)."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it ended while we looked
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
    """Process ids of the ViZDoom engines that work in `scratch`."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # another user's, or ended while we looked
            if link.readlink() == scratch.resolve() and (link.parent / "comm").read_text() == "vizdoom\n":
                found.append(int(link.parent.name))
    return found


def sweep() -> int:
    """Remove what games with a dead owner left behind; return how many there were."""
    swept = 0
    for scratch in Path(tempfile.gettempdir()).glob(SCRATCH_PREFIX + "*"):
        named = _SCRATCH_NAME.fullmatch(scratch.name)
        try:
            if named is None or scratch.is_symlink() or scratch.stat().st_uid != os.getuid():
                continue
        except OSError:
            continue  # somebody else sweeps it
        owner, owner_start = int(named[1]), int(named[2])
        if owner_start == 0 or start_time(owner) == owner_start:
            continue
        clear(scratch)
        swept += 1
    return swept


def clear(scratch: Path) -> None:
    """End what works in `scratch` and remove it, with its shared memory."""
    instances = set()
    with contextlib.suppress(OSError, ValueError):
        instances.add((scratch / INSTANCE_FILE).read_text())
    for engine in engines_in(scratch):  # found by where it works: its owner may have died before it wrote anything
        instances.add(instance_id(engine) or "")
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine, signal.SIGKILL)
    for instance in filter(str.isalnum, instances):
        for segment in _SHARED_MEMORY.glob(f"ViZDoom*{instance}"):
            segment.unlink(missing_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)
