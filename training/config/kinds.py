"""Configurations with kinds: `--kind NAME` chooses one, and only its own options exist then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import Field, Strict, create_model

from training.config.base import Config
from wm_envs.cli import peek
from wm_envs.errors import InvalidOption, did_you_mean

Base = TypeVar("Base", bound=Config)


_made: dict[tuple[type[Config], str, Any], type[Config]] = {}


def config_of_kind(base: type[Base], kind: str, network: Any) -> type[Base]:
    """The configuration of a kind: that of all kinds, and the fields of its network's config that have a description
    (the others follow from the data)."""
    if (base, kind, network) not in _made:
        _made[base, kind, network] = _make(base, kind, network)
    return cast(type[Base], _made[base, kind, network])


def _make(base: type[Base], kind: str, network: Any) -> type[Base]:
    own: dict[str, Any] = {  # a network's config is strict as a whole
        name: (Annotated[int, Strict()] if field.annotation is int else field.annotation, field)
        for name, field in network.__pydantic_fields__.items()
        if field.description and name not in base.model_fields
    }
    named: Any = Literal[kind]
    own["kind"] = named, Field(kind, description=base.model_fields["kind"].description)
    return create_model(f"{base.__name__}[{kind}]", __base__=base, __doc__=base.__doc__, **own)


def choose(kinds: Mapping[str, type[Base]], kind: str, option: str = "kind") -> type[Base]:
    """The configuration of the kind with this name, which `option` gave; raises `InvalidOption`."""
    if kind not in kinds:
        expected, near = f"one of {list(kinds)}", did_you_mean(kind, kinds)
        raise InvalidOption(option, kind, expected, f"give --{option} {next(iter(kinds))}, for example{near}")
    return kinds[kind]


def narrowed(default: Base, kinds: Mapping[str, type[Base]], words: list[str], option: str) -> Base:
    """`default`, or the kind that the words choose with `option`, with the values of `default` that it has, too."""
    kind = peek(words, option)
    if not kind or kind == getattr(default, "kind", ""):
        return default
    config = choose(kinds, kind, option)
    shared = {name: getattr(default, name) for name in type(default).model_fields if name in config.model_fields}
    return config(**{name: value for name, value in shared.items() if name != "kind"})


def by_kind(kinds: Callable[[], Mapping[str, type[Base]]], value: Any) -> Any:
    """JSON values as the configuration of their kind; anything else as it is."""
    return choose(kinds(), str(value.get("kind"))).from_json(value) if isinstance(value, dict) else value


def network_fields(base: type[Config], config: Config) -> dict[str, Any]:
    """The values of a kind's own fields, which are those of its network's config."""
    return {name: getattr(config, name) for name in type(config).model_fields if name not in base.model_fields}
