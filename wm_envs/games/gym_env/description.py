"""An environment as plain values: what stores and worlds of it record, and what makes it again.

The name of its task is the description itself, "gym:" and JSON, so two games have the same name only if everything that
matters is the same: the id, its keywords, how it is seen, its limits and the versions of its packages. A name is data:
reading it imports nothing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import field
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator
from pydantic.dataclasses import dataclass

from wm_envs.errors import InvalidOption
from wm_envs.games.base import Keywords
from wm_envs.games.gym_env import PREFIX
from wm_envs.games.gym_env.actions import MAX_SIZE, ActionCodec
from wm_envs.validation import STRICT, from_json

MAX_NAME = 100_000  # characters
MAX_TICKS = 1_000_000
Picture = Literal["observation", "render"]
Side = NonNegativeInt  # pixels


@dataclass(frozen=True, config=STRICT)
class EnvDescription:
    """One environment, as `describe` found it."""

    id: str
    actions: ActionCodec
    kwargs: Keywords = field(default_factory=dict)  # of `gym.make`, JSON values
    picture: Literal["observation", "render"] = (
        "observation"  # what V sees; "render" is that of render_mode="rgb_array"
    )
    crop: tuple[Side, Side, Side, Side] = (0, 0, 0, 0)  # pixels cut off at top, bottom, left and right
    tick_limit: Annotated[int, Field(gt=0, le=MAX_TICKS)] = 1000  # steps of the environment
    ticks_per_second: Annotated[int, Field(gt=0, le=1000)] = 30
    idle: tuple[int, ...] = ()  # the choices that do nothing
    keys: tuple[tuple[int, int, int], ...] = ()  # (right, up, choice) of the player's keys; right and up are -1, 0 or 1
    life_loss_ends: bool = False
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that the game comes from

    @model_validator(mode="after")
    def _choices_exist(self) -> Self:
        if not 0 < self.actions.size <= MAX_SIZE:
            raise ValueError(f"an action has {self.actions.size} numbers, not 1 to {MAX_SIZE}")
        if not {*self.idle, *(choice for _, _, choice in self.keys)} <= {*range(len(self.actions.choices))}:
            raise ValueError(f"idle or keys name a choice that is not one of {len(self.actions.choices)}")
        return self

    @property
    def name(self) -> str:
        """The name of its task."""
        return PREFIX + json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

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
        return from_json(EnvDescription, json.loads(name.removeprefix(PREFIX)))
    except (ValueError, RecursionError) as error:
        shown = name if len(name) < 200 else name[:200] + "..."
        expected = "a description that collect or run wrote"
        raise InvalidOption("task", f"{shown} ({error})", expected, "describe it again with --env ID") from error
