"""Shuffled blocks of frames to train V, streamed from the episode store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.episode_store import CHUNK, Part


@dataclass(frozen=True)
class FrameBlocks:
    """Shuffled blocks of frames. Block b depends only on (seed, b), so a run can be resumed at any block.

    A block holds `per_chunk` frames from each of `chunks` random chunks of the store, because frames of one chunk are
    nearly the same.
    """

    parts: list[Part]
    seed: int
    chunks: int = 256
    per_chunk: int = 16
    lag: int = 4  # ticks between a frame and its neighbour, which shows what moves
    objects: bool = False  # also read the pixels of objects

    @property
    def block_size(self) -> int:
        """N, the number of frames in a block."""
        return self.chunks * self.per_chunk

    def read(self, block: int) -> tuple[NDArray[Any], ...]:
        """Frames of one block and, for each, its neighbour (see `neighbours`); both (N, 64, 64, 3) uint8.

        With `objects`, also the pixels of objects in these frames, (N, K, 64, 64) bool.
        """
        rng = np.random.default_rng((self.seed, block))
        sizes = np.array([part.size for part in self.parts], float)
        chosen = np.sort(rng.choice(len(self.parts), self.chunks, p=sizes / sizes.sum()))
        found: list[tuple[NDArray[Any], ...]] = []
        for index in chosen:
            part = self.parts[index]
            start = int(rng.integers(-(-part.size // CHUNK))) * CHUNK
            stop = min(start + CHUNK, part.size)
            chunk = part.read(start, stop)
            at = rng.choice(len(chunk), self.per_chunk, replace=len(chunk) < self.per_chunk)
            near = neighbours(part.lengths, start + at, start, stop, self.lag) - start
            where = (part.read_objects(start, stop)[at],) if self.objects else ()
            found.append((chunk[at], chunk[near], *where))
        order = rng.permutation(self.block_size)
        return tuple(np.concatenate(each)[order] for each in zip(*found, strict=True))

    def stream(self, first: int = 0) -> Iterator[tuple[NDArray[Any], ...]]:
        """Blocks first, first + 1, ... without end; a thread reads the next block ahead."""
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self.read, first)
            while True:
                block = ahead.result()
                first += 1
                ahead = reader.submit(self.read, first)
                yield block


def neighbours(lengths: NDArray[np.int32], ticks: NDArray[np.int64], start: int, stop: int, lag: int) -> NDArray[Any]:
    """For ticks in [start, stop) of a part, the ticks `lag` before them, of the same episode and in the same range.

    Where there is none, it is the tick `lag` later, else the tick itself. `lengths` are those of the part's episodes.
    """
    ends = np.cumsum(lengths)
    episode = np.searchsorted(ends, ticks, side="right")
    first = np.maximum(ends[episode] - lengths[episode], start)
    last = np.minimum(ends[episode], stop) - 1
    return np.where(ticks - lag >= first, ticks - lag, np.where(ticks + lag <= last, ticks + lag, ticks))
