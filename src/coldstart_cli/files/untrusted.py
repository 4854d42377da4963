"""Files that somebody else may have written: how large and deep they may be, and what they may not ask for.

JSON of a run or a bundle is read here; YAML in plain_yaml.py, so that commands which read none do not import
its parser. Values alone come out.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coldstart_cli.errors import RequestError
from coldstart_cli.files.regular import opened

LARGEST_JSON = 64 << 20
"""Bytes; a summary of a thousand shots and steps has some megabytes."""
DEEPEST = 32
"""Levels of lists and mappings; a config has six."""


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


DECODER = json.JSONDecoder(parse_constant=_no_number)


class Foreign(ValueError):
    """Why a text of somebody else's is not read, in words."""


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
    for _ in scalars(value, DEEPEST):
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
        OSError: where it cannot be read, or is something else than a file, such as a FIFO.
        Foreign: where it has more, or is not UTF-8.
    """
    with opened(path) as stream:
        data = stream.read(largest + 1)
    if len(data) > largest:
        raise Foreign(f"has more than {largest >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Foreign("is not UTF-8") from error


def scalars(value: Any, deepest: int) -> Iterator[object]:
    """Every key and every value that holds no others."""
    if not deepest:
        raise Foreign(f"is more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from scalars(item, deepest - 1)
    elif isinstance(value, list):
        for item in value:
            yield from scalars(item, deepest - 1)
    elif value is None or isinstance(value, bool | int | float | str):
        yield value
    else:
        raise Foreign(f"holds a {type(value).__name__}, which no config has")
