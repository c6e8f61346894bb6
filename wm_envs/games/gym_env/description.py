"""An environment as plain values: what stores and worlds of it record, and what makes it again.

The name of its task is the description itself, "gym:" and JSON, so two games have the same name only if everything that
matters is the same: the id, its keywords, how it is seen, its limits and the versions of its packages. A name is data:
reading it imports nothing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from wm_envs.errors import InvalidOption
from wm_envs.games.gym_env.actions import KINDS, MAX_SIZE, ActionCodec

PREFIX = "gym:"
MAX_NAME = 100_000  # characters
MAX_TICKS = 1_000_000


@dataclass(frozen=True)
class EnvDescription:
    """One environment, as `describe` found it."""

    id: str
    actions: ActionCodec
    kwargs: dict[str, Any] = field(default_factory=dict)  # of `gym.make`, JSON values
    picture: str = "observation"  # what V sees: "observation", or "render", the picture of render_mode="rgb_array"
    crop: tuple[int, ...] = (0, 0, 0, 0)  # pixels cut off at top, bottom, left and right
    tick_limit: int = 1000  # steps of the environment
    ticks_per_second: int = 30
    idle: tuple[int, ...] = ()  # the choices that do nothing
    keys: tuple[tuple[int, ...], ...] = ()  # (right, up, choice) of the player's keys; right and up are -1, 0 or 1
    life_loss_ends: bool = False
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that the game comes from

    @property
    def name(self) -> str:
        """The name of its task."""
        values = dataclasses.asdict(self)
        values["actions"].pop("choices")
        return PREFIX + json.dumps(values, sort_keys=True, separators=(",", ":"))

    @property
    def title(self) -> str:
        """The game for people."""
        return f"{self.id} with {self.kwargs}" if self.kwargs else self.id

    def differs(self, other: EnvDescription) -> str:
        """In words, where two descriptions differ."""
        names = [each.name for each in dataclasses.fields(self)]
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return ", ".join(f"{name} {a!r} and {b!r}" for name, (a, b) in pairs.items() if a != b)


def parse(name: str) -> EnvDescription:
    """The description in a name; raises `InvalidOption` if it is none."""
    try:
        if len(name) > MAX_NAME:
            raise ValueError(f"it has {len(name)} characters")
        values = json.loads(name.removeprefix(PREFIX))
        actions = ActionCodec(**_typed(ActionCodec, values.pop("actions")))
        found = EnvDescription(actions=actions, **_typed(EnvDescription, values))
        _check(found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        shown = name if len(name) < 200 else name[:200] + "..."
        expected = "a description that collect or run wrote"
        raise InvalidOption("task", f"{shown} ({error})", expected, "describe it again with --env ID") from error
    return found


def _typed(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """JSON values as the fields of a dataclass have them; raises `ValueError` for another type."""
    fields = {each.name: str(each.type) for each in dataclasses.fields(kind) if each.init}
    found = {}
    for name, value in values.items():
        expected = fields[name]
        if expected.startswith("tuple"):
            value = _tuples(value, float if "float" in expected else int)
        elif type(value).__name__ != expected.partition("[")[0]:
            raise ValueError(f"{name} is {value!r}")
        found[name] = value
    return found


def _tuples(value: Any, kind: type) -> Any:
    """Lists of numbers, and lists of them, as tuples."""
    if isinstance(value, list):
        return tuple(_tuples(each, kind) for each in value)
    if isinstance(value, bool) or not isinstance(value, kind | int):
        raise ValueError(f"{value!r} is not a number")
    return kind(value)


def _check(found: EnvDescription) -> None:
    """Raises `ValueError` for values that do not fit together."""
    codec = found.actions
    count = len(codec.sizes or codec.low)
    whole = 1
    for side in codec.shape:
        whole *= side
    choices = len(codec.choices) if 0 < codec.size <= MAX_SIZE else 0
    valid = (
        codec.kind in KINDS
        and (codec.kind == "box") == (not codec.sizes)
        and codec.dtype in ("int8", "int16", "int32", "int64", "uint8", "float32", "float64")
        and whole == count > 0
        and (len(codec.starts) == count if codec.sizes else len(codec.high) == count)
        and all(size > 0 for size in codec.sizes)
        and all(low < high for low, high in zip(codec.low, codec.high, strict=True))
        and choices > 0
        and found.picture in ("observation", "render")
        and len(found.crop) == 4
        and min(found.crop) >= 0
        and 0 < found.tick_limit <= MAX_TICKS
        and 0 < found.ticks_per_second <= 1000
        and all(0 <= choice < choices for choice in found.idle)
        and all(len(key) == 3 and 0 <= key[2] < choices for key in found.keys)
        and all(isinstance(version, str) for version in found.versions.values())
    )
    if not valid:
        raise ValueError("values are out of range or contradict each other")
