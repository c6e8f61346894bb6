"""The kinds of a part of a world: a config and a network each, found by the name that the config holds."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any, Generic, NamedTuple, TypeVar, cast

from pydantic import field_validator
from pydantic.dataclasses import dataclass

from wm_envs.validation import STRICT, from_json


@dataclass(frozen=True, config=STRICT)
class KindConfig:
    """Base of every kind's config. A field with a description can be set when the kind is trained."""

    _: KW_ONLY
    kind: str = ""  # each kind sets its name

    @field_validator("kind")
    @classmethod
    def _own_kind(cls, kind: str) -> str:
        if kind != cls.kind:
            raise ValueError(f"{kind!r} is not {cls.kind!r}, the kind of {cls.__name__}")
        return kind


Config = TypeVar("Config", bound=KindConfig)
Network = TypeVar("Network")


class Kind(NamedTuple, Generic[Config, Network]):
    """One kind: the class of its config, and the class of its network, which is made from a config."""

    config: type[Config]
    network: type[Network]


class Kinds(dict[str, Kind[Config, Network]]):
    """All kinds of one part of a world, by name."""

    def register(self, config: type[Config], network: type[Network]) -> None:
        """Add a kind, under the name in `config.kind`. Raises `ValueError` if another kind has this name."""
        kind = Kind(config, network)
        if self.setdefault(config.kind, kind) != kind:
            raise ValueError(f"the kind {config.kind!r} exists: {self[config.kind]}")

    def read(self, values: Any) -> Config:
        """The config in JSON values that name their kind; a config stays as it is. Raises `ValueError` in one line."""
        if isinstance(values, KindConfig):
            return cast(Config, values)
        kind = values.get("kind") if isinstance(values, dict) else None
        if not isinstance(kind, str) or kind not in self:
            raise ValueError(f"the kind is {kind!r}, expected one of {sorted(self)}")
        return from_json(self[kind].config, values)

    def build(self, config: Config) -> Network:
        """The network of a config, with random weights."""
        return self[config.kind].network(config)  # type: ignore[call-arg]
