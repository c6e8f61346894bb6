"""Results in JSON files: dataclasses whose types are checked when they are read, and a version of the schema."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from wm_envs.errors import BrokenStore
from wm_envs.files import JsonObject, read_json, write_json

SCHEMA = 1  # of the files that `write_result` writes; files without a version are read as this one
T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Dataclasses, dicts, sequences and paths as JSON values. Fields that are None are omitted."""
    if dataclasses.is_dataclass(value):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        value = {name: item for name, item in fields if item is not None}
    if isinstance(value, dict):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_json(kind: type[T], values: object, source: object) -> T:
    """The dataclass `kind` from JSON values; unknown fields are ignored.

    Raises `BrokenStore`, which names `source`, for a missing field or one of the wrong type.
    """
    try:
        adapter: TypeAdapter[T] = _adapter(cast(Any, kind))
        return adapter.validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "all"
        raise BrokenStore(
            "record", f"{source} ({field}: {first['msg']})", f"a {kind.__name__}", "remove it and run the stage again"
        ) from error


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_record(path: Path) -> JsonObject:
    """The JSON object that a stage wrote at `path`; raises `BrokenStore`, also for a newer schema."""
    try:
        values = read_json(path)
    except (ValueError, OSError) as error:
        raise BrokenStore(
            "record", f"{path} ({error})", "what a stage wrote there", "remove it and run the stage again"
        ) from error
    schema = values.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise BrokenStore("record", f"{path} of schema {schema}", f"schema {SCHEMA}", "update wm-envs")
    return values


def read_result(kind: type[T], path: Path) -> T:
    """The dataclass `kind` that a stage wrote at `path`; raises `BrokenStore`."""
    return from_json(kind, read_record(path), path)


def write_result(path: Path, value: Any) -> None:
    """Write a dataclass, or a dict, as a JSON object with the version of the schema and a checksum."""
    write_json(path, {"schema": SCHEMA} | to_json(value))
