"""Zarr's zstd codec with a bound on what a chunk may unpack to."""

from __future__ import annotations

import math
from typing import Any

import zarr
from zarr.abc.buffer import Buffer
from zarr.codecs import ZstdCodec


class BoundedZstd(ZstdCodec):
    """Zarr's zstd codec, which allocates whatever a chunk says that it holds: no more than it may hold is believed."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: Any) -> Buffer:
        said, due = _content_size(chunk_bytes.to_bytes()[:18]), math.prod(chunk_spec.shape)
        if said != due * chunk_spec.dtype.to_native_dtype().itemsize:
            raise ValueError(f"a chunk that says it holds {said} bytes")
        return super()._decode_sync(chunk_bytes, chunk_spec)


def _content_size(frame: bytes) -> int:
    """What the header of a zstd frame says (RFC 8878, 3.1.1.1), -1 when it does not."""
    if len(frame) < 6 or frame[:4] != b"\x28\xb5\x2f\xfd":
        return -1
    kind, single, dictionary = frame[4] >> 6, frame[4] >> 5 & 1, frame[4] & 3
    at, width = 5 + (1 - single) + (0, 1, 2, 4)[dictionary], (single, 2, 4, 8)[kind]
    said = int.from_bytes(frame[at : at + width], "little") + (256 if kind == 1 else 0)
    return said if width else -1


zarr.registry.register_codec("zstd", BoundedZstd)
zarr.config.set({"codecs.zstd": f"{__name__}.{BoundedZstd.__qualname__}"})
