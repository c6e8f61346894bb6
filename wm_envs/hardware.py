"""The fastest device and number type of this machine."""

from __future__ import annotations

import functools
from pathlib import Path

import torch


@functools.cache
def fast_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; if it does not, bfloat16 is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(device: torch.device) -> torch.dtype:
    """The number type of matrix products on `device`: bfloat16 if the hardware supports it, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if fast_bfloat16() else torch.float32
