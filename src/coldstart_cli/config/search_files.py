"""`conf/search/<strategy>.yaml`: what `coldstart tune` searches where the command line gives no range.

A plain mapping of keys to ranges, written as on the command line: `strategy.lr: tag(log, interval(0.01, 1))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.config.catalog import SEARCH, catalogue, search_roots
from coldstart_cli.errors import RequestError
from coldstart_cli.files.plain_yaml import LARGEST_YAML, yaml_values
from coldstart_cli.files.untrusted import Foreign, read_text


def search_file(strategy: str, config_dirs: Sequence[str]) -> Path | None:
    """The file of a strategy: of your own folders, installed plug-ins or the package; None without one."""
    return plain_file(SEARCH, strategy, config_dirs)


def plain_file(group: str, name: str, config_dirs: Sequence[str]) -> Path | None:
    """A file that a command reads by itself: of your own folders, plug-ins or the package, in this order."""
    packaged, *own = search_roots(config_dirs)
    entries = catalogue([*own, packaged]).get(group, [])  # your own come first, unlike configs
    return next((entry.path for entry in entries if entry.name == name), None)


def plain_mapping(path: Path, what: str, remedy: str) -> dict[Any, Any]:
    """What such a file holds.

    Args:
        what: as "keys to ranges", and `remedy`, for messages.

    Raises:
        RequestError: where it is not YAML, or holds anything but a mapping.
    """
    try:
        values = yaml_values(read_text(path, LARGEST_YAML))
    except (OSError, Foreign) as error:
        raise RequestError(f"{path}: cannot be read as a mapping of {what} ({error}); {remedy}") from error
    if not isinstance(values, dict) or not values:
        raise RequestError(f"{path}: is no mapping of {what}; {remedy}")
    return values


def ranges_in(path: Path) -> list[str]:
    """Its lines as overrides, `key=range`.

    Raises:
        RequestError: where it is not a mapping of keys to texts.
    """
    values = plain_mapping(path, "keys to ranges", "write key: interval(0.01, 1)")
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise RequestError(f"{path}: {key}: {value!r} is no range; write {key}: choice(1, 2, 4)")
    return [f"{key}={value}" for key, value in values.items()]
