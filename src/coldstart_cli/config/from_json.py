"""Dataclasses of values that somebody else may have written, as JSON holds them: every value is checked."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from coldstart_cli.config.annotations import mismatch

T = TypeVar("T")


def from_json(kind: type[T], values: object) -> T:
    """The dataclass that a JSON object holds; keys that it does not know are left out.

    Raises:
        ValueError: naming the key that is missing, or of another type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__} is not an object")
    hints, made = typing.get_type_hints(kind), {}
    for part in fields(kind):  # type: ignore[arg-type]
        if part.name in values:
            made[part.name] = _value(part.name, hints[part.name], values[part.name])
        elif part.default is MISSING and part.default_factory is MISSING:
            raise ValueError(f"{part.name} is missing")
    return kind(**made)


def _value(name: str, hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType and len(known := [a for a in arguments if a is not type(None)]) == 1:
        return None if value is None else _value(name, known[0], value)
    if is_dataclass(hint):
        return from_json(typing.cast("type[Any]", hint), value)
    if origin is Mapping and isinstance(value, Mapping):
        return {key: _value(f"{name}.{key}", arguments[1], item) for key, item in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_value(name, arguments[0], item) for item in value)
    wrong = f"{name} is not a list" if origin is tuple else mismatch(value, hint)
    if wrong is not None:
        raise ValueError(f"{name}: {wrong.partition(';')[0]}")
    return value
