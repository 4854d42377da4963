"""Dataclasses as tables of their fields, with the dataclasses that these hold."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from coldstart_cli.config.annotations import described
from reference.markdown import body, cell, code, needed, said_of, table

_NONE = re.compile(r"\bNone\b")


def with_parts(*classes: type) -> list[type]:
    """Dataclasses, each followed by those that its fields hold; each once, the named ones first."""
    found: list[type] = []
    pending = list(classes)
    while pending:
        one = pending.pop(0)
        if one not in found:
            found.append(one)
            held = [c for kind in _kinds(one).values() for c in _classes(kind) if c not in classes]
            pending = [*held, *pending]
    return found


def _kinds(one: type) -> dict[str, Any]:
    """Field -> its annotation, evaluated."""
    # What a module imports for type checkers alone is not in its namespace.
    hints = typing.get_type_hints(one, localns={"Tensor": Tensor})
    return {field.name: hints[field.name] for field in dataclasses.fields(one)}


def _classes(kind: Any) -> Iterator[type]:
    """The dataclasses in an annotation."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield kind
    for argument in typing.get_args(kind):
        yield from _classes(argument)


def section(
    one: type, level: str, shown: Sequence[type], *, example: str = "", as_json: bool = False
) -> list[str]:
    """A dataclass under a heading: its docstring, then its fields; those of `shown` are linked to.

    Args:
        as_json: it is told as a JSON object, where None is null.

    Raises:
        Unsaid: where it, or one of its fields, has no sentence of its own.
    """
    said = own_docstring(one)
    lines: dict[str, str] = {}
    for parent in reversed(one.__mro__):
        lines |= said_of(inspect.cleandoc(parent.__doc__ or ""), "Attributes")
    if as_json:
        said, *texts = (_NONE.sub("null", text) for text in (said, *lines.values()))
        lines = dict(zip(lines, texts, strict=True))
    rows = []
    for name, kind in _kinds(one).items():
        links = [
            f"[{c.__name__}](#{c.__name__.lower()})" for c in dict.fromkeys(_classes(kind)) if c in shown
        ]
        text = " ".join(filter(None, [cell(lines.get(name, "")), *links]))
        needed(text, f"{one.__module__}.{one.__name__}.{name}")  # a link to what it holds says enough
        rows.append([code(name), cell(described(kind)), text])
    heading = f"{level} {one.__name__} {{ #{one.__name__.lower()} }}"
    return [
        heading,
        body(said),
        *([example] if example else []),
        table(("field", "type", "meaning"), rows, "fields"),
    ]


def own_docstring(one: Any) -> str:
    """A docstring that somebody wrote; dataclasses get their signature as one where there is none.

    Raises:
        Unsaid: where nobody did.
    """
    text = inspect.getdoc(one) or ""
    made = isinstance(one, type) and text.startswith(f"{one.__name__}(")
    return needed("" if made else text, f"{one.__module__}.{one.__qualname__}")
