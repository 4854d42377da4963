"""Whether a value from YAML fits a parameter's annotation, and what to give if it does not."""

from __future__ import annotations

import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from annotated_types import DocInfo

from coldstart_cli.errors import suggestion


def mismatch(value: object, annotation: Any) -> str | None:
    """What is wrong with `value` for a parameter with this annotation and what to give instead, or None."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return None
    if origin is typing.Annotated:
        told = next((a.documentation for a in arguments[1:] if isinstance(a, DocInfo)), None)
        if value is None and told is not None:
            return f"is null; give {told}"
        return mismatch(value, arguments[0]) or _out_of_range(value, arguments[1:])
    if origin is typing.Literal:
        # The type as well: True equals 1, and 1.0 equals 1.
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return None
        return f"{shown(value)} is not a valid choice; {suggestion(str(value), [str(a) for a in arguments])}"
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        problems = [mismatch(value, a) for a in arguments if a is not type(None)]
        # The first kind's problem: unions name the usual kind first.
        return None if None in problems else problems[0]
    if origin in (list, Sequence):
        if not isinstance(value, list):
            return f"{shown(value)} is not a list; write [a, b]"
        return next((wrong for item in value if (wrong := mismatch(item, arguments[0]))), None)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            return f"{shown(value)} is not a mapping; write {{name: value}}"
        return next((wrong for item in value.values() if (wrong := mismatch(item, arguments[1]))), None)
    return _wrong_type(value, annotation)


def _wrong_type(value: object, annotation: Any) -> str | None:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if annotation not in names:
        if isinstance(value, Mapping) and "_target_" in value:
            return None  # it is checked as a target of its own
        if not isinstance(annotation, type) or not isinstance(
            value, None | bool | int | float | str | list | Mapping
        ):
            return None  # an object that the run provides
        return f"{shown(value)} is not {with_article(annotation.__name__)}; give a config with a _target_"
    fits = isinstance(value, annotation) or (annotation is float and isinstance(value, int))
    # A bool is an int to Python, but `lr: true` is a mistake.
    if isinstance(value, bool) and annotation is not bool:
        fits = False
    # nan passes every range check, since all comparisons with it are false.
    if isinstance(value, float) and value != value:
        fits = False
    return None if fits else f"{shown(value)} is not {names[annotation]}; give {names[annotation]}"


def _out_of_range(value: object, limits: Sequence[Any]) -> str | None:
    """Reads annotated_types' Ge, Gt, Le, Lt and Len by their attributes."""
    if value is None:
        return None
    signs: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
        "ge": ("at least", operator.ge),
        "gt": ("above", operator.gt),
        "le": ("at most", operator.le),
        "lt": ("below", operator.lt),
    }
    for limit in limits:
        for name, (words, holds) in signs.items():
            bound = getattr(limit, name, None)
            if bound is not None and not holds(value, bound):
                return f"{shown(value)} is out of range; give a value {words} {bound}"
        shortest = getattr(limit, "min_length", None)
        if shortest is not None and len(typing.cast("list[Any]", value)) < shortest:
            return f"{shown(value)} is too short; give at least {shortest}"
    return None


def classes(annotation: Any) -> list[type]:
    """The classes in an annotation; a parameter without one may be any object."""
    if annotation is Any:
        return [object]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return classes(arguments[0])
    if origin is not None:
        return [found for argument in arguments for found in classes(argument)]
    return [annotation] if isinstance(annotation, type) else []


def with_article(name: str) -> str:
    """`an Encoder`, `a Strategy`."""
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def shown(value: object) -> str:
    """A value as quoted in messages."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def described(annotation: Any) -> str:
    """A parameter's type and range in a few words: `number > 0`, `all | head`, `text, or null`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _limited(described(arguments[0]), arguments[1:])
    if origin is typing.Literal:
        return " | ".join(str(a) or "empty" for a in arguments)
    if origin in (typing.Union, types.UnionType):
        kinds = [described(a) for a in arguments if a is not type(None)]
        return " or ".join(kinds) + (", or null" if len(kinds) < len(arguments) else "")
    if origin in (list, Sequence, tuple):
        return f"[{described(arguments[0])}, ...]"
    if origin in (dict, Mapping):
        return f"{{name: {described(arguments[1])}}}"
    names = {int: "whole number", float: "number", bool: "true | false", str: "text", Any: "anything"}
    return names.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _limited(kind: str, limits: Sequence[Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {value}"
        for limit in limits
        for name, sign in signs.items()
        if (value := getattr(limit, name, None)) is not None
    ]
    least = [limit.min_length for limit in limits if getattr(limit, "min_length", None)]
    filled = ["not empty" if n == 1 else f"at least {n}" for n in least]
    return ", ".join([f"{kind} {' and '.join(bounds)}".strip(), *filled])


def choices(annotation: Any) -> tuple[str, ...]:
    """All the words that a parameter may be set to, or none where other values are possible."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return tuple(map(str, arguments))
    if origin is typing.Annotated:
        return choices(arguments[0])
    if origin in (typing.Union, types.UnionType):
        found = [choices(a) for a in arguments if a is not type(None)]
        null = ("null",) if len(found) < len(arguments) else ()
        return tuple(word for words in found for word in words) + null if all(found) else ()
    return ("false", "true") if annotation is bool else ()
