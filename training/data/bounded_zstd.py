"""Zarr's zstd codec with a limit on the decompressed size of a chunk."""

from __future__ import annotations

import math
from typing import Any

import zarr as zarr  # with this codec, for `episode_store`
from zarr.abc.buffer import Buffer
from zarr.codecs import ZstdCodec


class BoundedZstd(ZstdCodec):
    """Zarr's zstd codec, which also checks the size in a chunk's header before it allocates memory.

    Zarr's own codec allocates any size that the header claims.
    """

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: Any) -> Buffer:
        claimed = _content_size(chunk_bytes.to_bytes()[:18])
        expected = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
        if claimed != expected:
            raise ValueError(f"a chunk claims to hold {claimed} bytes instead of {expected}")
        return super()._decode_sync(chunk_bytes, chunk_spec)


def _content_size(frame: bytes) -> int:
    """The content size in bytes in the header of a zstd frame (RFC 8878, section 3.1.1.1); -1 if it has none."""
    if len(frame) < 6 or frame[:4] != b"\x28\xb5\x2f\xfd":
        return -1
    kind, single, dictionary = frame[4] >> 6, frame[4] >> 5 & 1, frame[4] & 3
    at, width = 5 + (1 - single) + (0, 1, 2, 4)[dictionary], (single, 2, 4, 8)[kind]
    size = int.from_bytes(frame[at : at + width], "little") + (256 if kind == 1 else 0)
    return size if width else -1


zarr.registry.register_codec("zstd", BoundedZstd)
zarr.config.set({"codecs.zstd": f"{__name__}.{BoundedZstd.__qualname__}"})
