"""Typed configurations: frozen pydantic dataclasses that check themselves, and their values from JSON.

A configuration is a `@dataclass(frozen=True, config=STRICT)` of `pydantic.dataclasses`. Bounds stand at its fields; a
rule about several fields is a validator of the class that holds them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Config = TypeVar("Config")

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
Size = Annotated[int, Field(gt=0, le=4096)]  # of a layer or a vector


def from_json(kind: type[Config], values: Any) -> Config:
    """An instance of a configuration from JSON values. Raises `ValueError` with one line that names the field."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
    """The first problem of a validation in one line: the field, its value, and what is expected."""
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{field}: {message}" if field else message
    return f"{field} is {problem['input']!r:.100}: {message[:1].lower()}{message[1:]}"
