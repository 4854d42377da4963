"""Results as JSON values and back; no other module converts between the two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
# A sentinel, because None and {} are both values that a field may be written as.
_NONE, _LEFT_OUT = "none", object()
ABSENT: Mapping[str, object] = {_NONE: _LEFT_OUT}
"""Metadata of a field whose key is left out of JSON where it is None."""
EMPTY: Mapping[str, object] = {_NONE: {}}
"""Metadata of a field that is written as {} where it is None."""


def to_json(result: object) -> dict[str, Any]:
    """A dataclass as a dict of JSON values; numbers that are not finite become null in the file."""
    written: dict[str, Any] = _written(result)
    return written


def from_json(kind: type[T], value: object, older: Mapping[type, Mapping[str, object]] | None = None) -> T:
    """The dataclass that `to_json` wrote.

    Unknown keys come from a later version and are ignored: the known ones still mean the same.

    Args:
        older: class -> the fields that earlier versions did not write, with the values to assume.

    Raises:
        KeyError, TypeError: where a key is missing or its value has another type; `untrusted.shaped` makes a
            message of either.
    """
    return cast("T", _read(kind, value, older or {}))


def _written(value: object) -> Any:
    if is_dataclass(value):
        items = [(part, getattr(value, part.name)) for part in fields(value)]
        return {
            part.name: part.metadata.get(_NONE) if item is None else _written(item)
            for part, item in items
            if item is not None or part.metadata.get(_NONE) is not _LEFT_OUT
        }
    if isinstance(value, Mapping):
        return {str(key): _written(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    return value


def _read(kind: Any, value: object, older: Mapping[type, Mapping[str, object]]) -> Any:
    if is_dataclass(kind):
        _expect(value, dict)
        # What the file says wins over what is assumed of earlier versions.
        given = {**older.get(cast("type", kind), {}), **cast("dict[str, object]", value)}
        return cast("type", kind)(
            **{part.name: _field(part, hint, given, older) for part, hint in _parts(cast("type", kind))}
        )
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Mapping:
        _expect(value, dict)
        name, of = arguments
        # JSON has text keys only; `name` is int for k_shots and batch sizes.
        return {name(key): _read(of, item, older) for key, item in cast("dict[str, object]", value).items()}
    if origin is Sequence:
        _expect(value, list)
        return [_read(arguments[0], item, older) for item in cast("list[object]", value)]
    if origin is tuple:
        _expect(value, list)
        items = cast("list[object]", value)
        return tuple(_read(of, item, older) for of, item in zip(arguments, items, strict=True))
    if origin in (Union, UnionType):
        return _one_of([of for of in arguments if of is not NoneType], NoneType in arguments, value, older)
    if kind is Any:
        return value
    if origin is Literal:
        return value
    # Which of nan and the infinities it was, null does not say; nan is shown as unknown.
    if kind is float and value is None:
        return math.nan
    _expect(value, (int, float) if kind is float else kind)
    return value


def _one_of(kinds: Sequence[Any], optional: bool, value: object, older: Any) -> Any:
    """Of a value or a list of such, the one that is there: JSON tells no more than these two apart."""
    if optional and value is None:
        return None
    of_list = [kind for kind in kinds if get_origin(kind) is Sequence]
    return _read(of_list[0] if of_list and isinstance(value, list) else kinds[0], value, older)


def _field(part: Field[Any], hint: Any, given: Mapping[str, object], older: Any) -> Any:
    if _NONE not in part.metadata:
        return _read(hint, given[part.name], older)
    if part.name not in given or given[part.name] == part.metadata[_NONE]:
        return None
    # `X | None` without its None: absence was dealt with above, so what is left must be an X.
    (inner,) = (argument for argument in get_args(hint) if argument is not NoneType)
    return _read(inner, given[part.name], older)


@cache
def _parts(kind: type) -> list[tuple[Field[Any], Any]]:
    # Evaluates annotations, which are texts here, and would do so again at every call.
    hints = get_type_hints(kind)
    return [(part, hints[part.name]) for part in fields(kind)]


def _expect(value: object, kind: Any) -> None:
    # A bool is an int to Python, but `true` in a file where a number belongs is an error.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r:.40} is not of type {getattr(kind, '__name__', 'number')}")
