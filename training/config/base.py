"""`Config`: a frozen, checked value. Every stage, every recipe and every whole run is described by one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic_core import ErrorDetails
from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from wm_envs.errors import InvalidOption, UnknownName, WorldModelError, did_you_mean
from wm_envs.files import JsonObject

# --- types of fields ----------------------------------------------------------------------------------


def whole_number(text: str) -> int:
    """A whole number as people write it: 4000000, 4_000_000 or 4e6."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not math.isfinite(number) or not number.is_integer():
            raise ValueError(f"expected a whole number, got {text!r}") from None
        return int(number)


WHOLE = PrimitiveConstructorSpec(
    nargs=1,
    metavar="INT",
    instance_from_str=lambda words: whole_number(words[0]),
    is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
    str_from_instance=lambda value: [str(value)],
)
Natural = Annotated[int, Strict(), Field(ge=0), WHOLE]  # 0, 1, 2, ...
Count = Annotated[int, Strict(), Field(ge=1), WHOLE]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Probability = Annotated[Number, Field(ge=0, le=1)]
Text = Annotated[str, arg(help_behavior_hint="")]  # "" is nothing
Words = Annotated[tuple[str, ...], arg(help_behavior_hint="")]
FLAT = arg(name="")  # the fields of a nested configuration are options without a prefix


@dataclass(frozen=True)
class MayChange:
    """Marks a field that may change between a run and its resumption: it changes nothing of the result."""


@dataclass(frozen=True)
class PlaceOnDisk:
    """Marks a field that names a file or folder; its record holds the place as seen from the run."""


MAY_CHANGE, ON_DISK = MayChange(), PlaceOnDisk()


# --- the base class -----------------------------------------------------------------------------------


class Config(BaseModel):
    """Base of all configurations. A wrong value raises `InvalidOption` or `UnknownName` with one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def __init__(self, /, **values: Any) -> None:
        try:
            self.__pydantic_validator__.validate_python(values, self_instance=self)
        except ValidationError as error:
            raise_typed(error, type(self))

    # pydantic calls the __init__ of a nested model only if it is not the base's, and would lose the field's full name
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """The configuration that JSON values describe; raises `InvalidOption` or `UnknownName`."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise_typed(error, cls)

    def as_json(self) -> JsonObject:
        """JSON values; `from_json` gives the same configuration again."""
        return self.model_dump(mode="json")

    def replace(self, **changes: Any) -> Self:
        """The same with other values, which are checked."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | changes)


def marked(config: Config, mark: object, prefix: str = "", inherited: bool = False) -> Iterator[str]:
    """Names of the fields with a mark, also those of nested configurations ("vision.batches"), which have the mark of
    what holds them."""
    for name, field in type(config).model_fields.items():
        value, has_it = getattr(config, name), inherited or mark in field.metadata
        if isinstance(value, Config):
            yield from marked(value, mark, prefix if FLAT in field.metadata else f"{prefix}{name}.", has_it)
        elif has_it:
            yield prefix + name


# --- errors -------------------------------------------------------------------------------------------


def flag(name: str) -> str:
    """A field's name as the command line has it."""
    return name.replace("_", "-")


def raise_typed(error: ValidationError, config: type[Config]) -> NoReturn:
    """Raise the first problem that pydantic found as an error of this package."""
    problem = error.errors(include_url=False)[0]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, WorldModelError):
        raise cause from None
    words = [str(part) for part in problem["loc"] if _names_a_field(part)]
    name = ".".join(words)
    if problem["type"] == "extra_forbidden":
        known = _fields_of(config, words[:-1])
        fix = f"omit it{did_you_mean(words[-1], known)}"
        raise UnknownName("option", name, f"one of {', '.join(known)}", fix) from None
    expected, value = _expected(error, problem), problem["input"]
    raise InvalidOption(name, value, expected, f"give --{flag(name)} such a value") from None


def _names_a_field(part: object) -> bool:
    """Whether a part of a problem's place names a field; others are indices, and the members of a union."""
    return isinstance(part, str) and part.isidentifier() and part not in ("int", "float", "str", "bool", "literal")


def _fields_of(config: type[Config], path: list[str]) -> list[str]:
    for name in path:
        nested = config.model_fields[name].annotation if name in config.model_fields else None
        if not (isinstance(nested, type) and issubclass(nested, Config)):
            return []
        config = nested
    return list(config.model_fields)


def _expected(error: ValidationError, first: ErrorDetails) -> str:
    """What a field accepts; for a union, all that its members accept."""
    place = first["loc"][: 1 + max((at for at, part in enumerate(first["loc"]) if _names_a_field(part)), default=0)]
    told = [each["msg"] for each in error.errors(include_url=False) if each["loc"][: len(place)] == place]
    parts = [text.removeprefix("Input should be ").removeprefix("a valid ") for text in dict.fromkeys(told)]
    plain = {"integer": "a whole number", "number": "a number", "string": "a word", "boolean": "true or false"}
    return " or ".join(plain.get(part, part) for part in parts)
