"""Files that somebody else may have written: how large and deep they may be, and what they may not ask for.

YAML of a run, a bundle or a folder of configs and JSON of a run or a bundle are read here first. Values
alone come out: no alias that unfolds to gigabytes, no tag, no interpolation that reads the environment.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from coldstart_cli.errors import RequestError

LARGEST_YAML = 1 << 20
"""Bytes; a run's config has five thousand."""
LARGEST_JSON = 64 << 20
"""Bytes; a summary of a thousand shots and steps has some megabytes."""
DEEPEST = 32
"""Levels of lists and mappings; a config has six."""
LONGEST = 1 << 14
"""Characters of one value."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # thirty times as fast, where it is built


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


DECODER = json.JSONDecoder(parse_constant=_no_number)


class Foreign(ValueError):
    """Why a text of somebody else's is not read, in words."""


def yaml_values(text: str) -> Any:
    """Plain values of a YAML text without interpolations.

    Raises:
        Foreign: where it is not YAML, or more than values.
    """
    value = _loaded(text)
    for found in _scalars(value, DEEPEST):
        if isinstance(found, str) and "${" in found:
            raise Foreign("holds an interpolation, which no resolved config has; do not trust it")
    return value


def json_values(text: str) -> Any:
    """Plain values of a JSON text.

    Raises:
        Foreign: where it is not JSON, is nested too deep, or holds a number that JSON does not know.
    """
    if len(text) > LARGEST_JSON:
        raise Foreign(f"has more than {LARGEST_JSON >> 20} MiB")
    try:
        value = DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Foreign("is not JSON") from error
    for _ in _scalars(value, DEEPEST):
        pass
    return value


@contextlib.contextmanager
def shaped(key: str, place: object) -> Iterator[None]:
    """Files of others that are read in here may lack what ours have, or hold it as another type.

    Raises:
        RequestError: naming `key` and the folder, in place of what Python says of such values.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        why = " ".join(f"{type(error).__name__} {error}".split())[:80]
        raise RequestError(
            f"{key}: {place} holds what no file of ours does ({why}); make it again, or --debug shows where"
        ) from error


def read_text(path: Path, largest: int) -> str:
    """A file of at most so many bytes, as text.

    Raises:
        OSError: where it cannot be read.
        Foreign: where it has more, or is not UTF-8.
    """
    with path.open("rb") as stream:  # a pipe or a device ends here as well
        data = stream.read(largest + 1)
    if len(data) > largest:
        raise Foreign(f"has more than {largest >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Foreign("is not UTF-8") from error


def _loaded(text: str) -> Any:
    """What a YAML text holds, once it is known to be bounded."""
    _scan(text)
    try:
        return _LOADER(text).get_single_data()
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        raise Foreign("is not YAML") from error


def _scan(text: str) -> None:
    """Looks at a YAML text event by event; nothing is made of it."""
    if len(text) > LARGEST_YAML:
        raise Foreign(f"has more than {LARGEST_YAML >> 20} MiB")
    depth = 0
    try:
        for event in yaml.parse(text, _LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise Foreign("holds a YAML alias")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > DEEPEST:
                raise Foreign(f"is more than {DEEPEST} levels deep")
            if getattr(event, "tag", None) is not None:
                raise Foreign("holds a YAML tag")
            if len(getattr(event, "value", "")) > LONGEST:
                raise Foreign(f"holds a value of more than {LONGEST:,} characters")
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, Foreign):
            raise
        raise Foreign("is not YAML") from error


def _scalars(value: Any, deepest: int) -> Iterator[object]:
    """Every key and every value that holds no others."""
    if not deepest:
        raise Foreign(f"is more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _scalars(item, deepest - 1)
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item, deepest - 1)
    elif value is None or isinstance(value, bool | int | float | str):
        yield value
    else:
        raise Foreign(f"holds a {type(value).__name__}, which no config has")
