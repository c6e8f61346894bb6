"""What Linux says about a process in /proc."""

from __future__ import annotations

from pathlib import Path


def stat_fields(process: int | str = "self") -> list[str]:
    """Fields of /proc/PROCESS/stat from its state on (`man proc_pid_stat`); [] without such a process or without /proc.

    The state of a process that has ended, but that its parent has not waited for, is "Z".
    """
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
