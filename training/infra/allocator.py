"""Memory that the C library keeps between tensors."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next tensors. Only glibc is changed (Linux).

    By default glibc returns every large tensor to the system and asks for a new one, page by page. On virtual machines
    that takes more time than the arithmetic of training (`benchmarks/training_speed.py`).
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**27)
