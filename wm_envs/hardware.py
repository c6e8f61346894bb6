"""The fastest device and number type of this machine."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import torch

from wm_envs.processes import stat_fields

_FORKED = 0x40  # Linux: PF_FORKNOEXEC in the flags of /proc/self/stat


def _one_thread() -> None:
    torch.set_num_threads(1)


def _is_fork() -> bool:
    """Whether this process was forked and has not started another program since (Linux; elsewhere False)."""
    fields = stat_fields()
    return bool(fields) and bool(int(fields[6]) & _FORKED)


# A forked child does not have the threads of its parent's pool, but OpenMP waits for them: it would wait for ever.
# With one thread it never asks for the pool. Children of this process, and this process if it is such a child:
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_one_thread)
if _is_fork():
    _one_thread()


@functools.cache
def fast_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 faster than float32.

    It does with AMX, and with AVX512-BF16 on AMD. Intel's AVX512-BF16 alone is slower than float32: on a Xeon whose AMX
    was hidden, training and dreams took 1.3 to 1.5 times as long (`python benchmarks/number_types.py`).
    """
    try:
        processor = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in processor or ("avx512_bf16" in processor and "AuthenticAMD" in processor)


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(device: torch.device) -> torch.dtype:
    """The number type of matrix products on `device`: bfloat16 where it is the faster one, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if fast_bfloat16() else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """The context in which matrix products on `device` are of its `compute_dtype`."""
    dtype = compute_dtype(device)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
