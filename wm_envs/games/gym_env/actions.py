"""The action spaces of any environment as vectors in [-1, 1], which M sees, and back.

Discrete: one-hot. MultiDiscrete and MultiBinary: a one-hot for each of their numbers, one after the other. Box: each
number scaled from its limits to [-1, 1].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from wm_envs.errors import InvalidOption
from wm_envs.games.base import Array
from wm_envs.validation import STRICT

MAX_SIZE = 256  # numbers in a vector
MAX_CHOICES = 128  # actions that a controller chooses from
FINE = {1: 9, 2: 5}  # numbers in a Box -> values of each in the fine choices


@dataclass(frozen=True, config=STRICT)
class ActionCodec:
    """An action space as plain values, with its encoding."""

    kind: Literal["discrete", "multi-discrete", "multi-binary", "box"]
    shape: tuple[PositiveInt, ...] = ()  # of one action
    sizes: tuple[PositiveInt, ...] = ()  # number of values of each number of an action; () for a Box
    starts: tuple[int, ...] = ()  # the smallest of these values
    low: tuple[float, ...] = ()  # limits of a Box
    high: tuple[float, ...] = ()
    dtype: Literal["int8", "int16", "int32", "int64", "uint8", "float32", "float64"] = "int64"

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        box, count = self.kind == "box", len(self.sizes or self.low)
        first, second = (self.low, self.high) if box else (self.sizes, self.starts)
        if box == bool(self.sizes) or not len(first) == len(second) == math.prod(self.shape) == count > 0:
            raise ValueError("kind, shape, sizes and limits contradict each other")
        if box and not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("a lower limit is not below the upper one")
        return self

    @classmethod
    def of(cls, space: spaces.Space[Any]) -> ActionCodec:
        """The codec of an action space; raises `InvalidOption` for a space of another type."""
        dtype: Any = str(space.dtype)
        if isinstance(space, spaces.Discrete):
            return cls("discrete", (), (int(space.n),), (int(space.start),), dtype=dtype)
        if isinstance(space, spaces.MultiDiscrete):
            sizes, starts = (tuple(int(n) for n in np.ravel(each)) for each in (space.nvec, space.start))
            return cls("multi-discrete", space.shape, sizes, starts, dtype=dtype)
        if isinstance(space, spaces.MultiBinary):
            count = int(np.prod(space.shape))
            return cls("multi-binary", space.shape, (2,) * count, (0,) * count, dtype=dtype)
        if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
            _check_bounded(space)
            low, high = (tuple(float(x) for x in np.ravel(each)) for each in (space.low, space.high))
            return cls("box", space.shape, low=low, high=high, dtype=dtype)
        expected = "Discrete, MultiDiscrete, MultiBinary, or a Box of floating-point numbers"
        raise InvalidOption("env", f"the action space {space}", expected, "wrap the environment with one of these")

    @cached_property
    def choices(self) -> tuple[tuple[float, ...], ...]:
        """What controllers choose from, (A,) each: all actions; of a Box, and of more than `MAX_CHOICES`, a grid."""
        return tuple(self._choices())

    @cached_property
    def fine(self) -> tuple[tuple[float, ...], ...]:
        """More choices, (A,) each, for a Box of one or two numbers: a finer grid. Empty for other spaces."""
        if not (count := FINE.get(len(self.low), 0)):
            return ()
        values = [np.linspace(-1, 1, count, dtype=np.float32) for _ in self.low]
        for grid, nothing in zip(values, self.encode(np.clip(np.zeros(self.shape), *self.limits)), strict=True):
            if abs(nothing) < 1:  # doing nothing stays a choice, and so do the limits
                grid[1 + np.abs(grid[1:-1] - nothing).argmin()] = nothing
        return tuple(itertools.product(*(grid.tolist() for grid in values)))

    @cached_property
    def size(self) -> int:
        """A, the numbers in a vector."""
        return sum(self.sizes) if self.sizes else len(self.low)

    @cached_property
    def space(self) -> spaces.Space[Any]:
        """The action space itself."""
        dtype: Any = np.dtype(self.dtype)
        if self.kind == "discrete":
            return spaces.Discrete(self.sizes[0], start=self.starts[0], dtype=dtype)
        if self.kind == "multi-discrete":
            sizes, starts = (np.reshape(each, self.shape) for each in (self.sizes, self.starts))
            return spaces.MultiDiscrete(sizes, dtype=dtype, start=starts)
        if self.kind == "multi-binary":
            return spaces.MultiBinary(self.shape[0] if len(self.shape) == 1 else self.shape)
        low, high = (np.array(each, dtype).reshape(self.shape) for each in (self.low, self.high))
        return spaces.Box(low, high, dtype=dtype)

    @property
    def limits(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Lowest and highest action, each of the shape of one action."""
        if self.kind == "box":
            return np.reshape(self.low, self.shape), np.reshape(self.high, self.shape)
        low = np.array(self.starts)
        return low.reshape(self.shape), (low + self.sizes - 1).reshape(self.shape)

    def encode(self, actions: NDArray[Any]) -> Array:
        """Vectors (..., A) of actions (..., *shape) of the space."""
        flat = actions.reshape((*actions.shape[: actions.ndim - len(self.shape)], -1))
        if self.kind == "box":
            low, high = np.array(self.low), np.array(self.high)
            return (2 * (flat - low) / (high - low) - 1).clip(-1, 1).astype(np.float32)
        hot = [np.eye(size, dtype=np.float32)[flat[..., i] - self.starts[i]] for i, size in enumerate(self.sizes)]
        return np.concatenate(hot, axis=-1)

    def decode(self, vectors: Array) -> NDArray[Any]:
        """The actions (..., *shape) of vectors (..., A): of each one-hot its largest number."""
        lead = vectors.shape[:-1]
        if self.kind == "box":
            low, high = np.array(self.low), np.array(self.high)
            values = low + (np.asarray(vectors, np.float64).clip(-1, 1) + 1) / 2 * (high - low)
        else:
            chosen = zip(self._chosen(vectors), self.starts, strict=True)
            values = np.stack([index + start for index, start in chosen], -1)
        return values.astype(self.dtype).reshape((*lead, *self.shape))

    def normal(self, vectors: Array) -> Array:
        """The vector (..., A) of the action that a vector (..., A), as a controller gives it, stands for."""
        if self.kind == "box":
            return vectors.clip(-1, 1).astype(np.float32)
        chosen = zip(self._chosen(vectors), self.sizes, strict=True)
        return np.concatenate([(index[..., None] == np.arange(size)) * np.float32(1) for index, size in chosen], -1)

    def _chosen(self, vectors: Array) -> list[NDArray[Any]]:
        """Of each one-hot in vectors (..., A) the index of its largest number, (...,).

        With slices, and `normal` with comparisons: the exporter to ONNX knows neither `numpy.split` nor `numpy.eye`.
        """
        ends = itertools.accumulate(self.sizes)
        return [vectors[..., end - size : end].argmax(-1) for end, size in zip(ends, self.sizes, strict=True)]

    def _choices(self) -> list[tuple[float, ...]]:
        if self.kind == "box":
            nothing = self.encode(np.clip(np.zeros(self.shape), *self.limits)).tolist()
            values = [tuple(dict.fromkeys((zero, 1.0, -1.0))) for zero in nothing]
            if 3 ** len(values) <= MAX_CHOICES:
                return [*itertools.product(*values)]
            return [tuple(nothing), *_one_at_a_time(nothing, values)]
        if np.prod(self.sizes) <= MAX_CHOICES:
            combinations = [*itertools.product(*(range(size) for size in self.sizes))]
        else:  # one number moves, the others stay at their first value
            nothing = [0] * len(self.sizes)
            combinations = [tuple(nothing), *_one_at_a_time(nothing, [range(size) for size in self.sizes])]
        offsets = np.array(self.starts)
        return [tuple(self.encode((np.array(c) + offsets).reshape(self.shape)).tolist()) for c in combinations]


def _one_at_a_time(nothing: Sequence[Any], values: Sequence[Iterable[Any]]) -> list[tuple[Any, ...]]:
    """`nothing` with one of its numbers replaced by each of its other `values`."""
    return [
        (*nothing[:i], value, *nothing[i + 1 :])
        for i, of_number in enumerate(values)
        for value in of_number
        if value != nothing[i]
    ]


def _check_bounded(space: spaces.Box) -> None:
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all() and (space.low < space.high).all()):
        raise InvalidOption(
            "env", f"the action space {space}", "finite limits, the low ones below the high ones",
            "wrap the environment with gymnasium.wrappers.RescaleAction or another one that limits its actions",
        )  # fmt: skip
