"""Files that somebody else may have written: how large and deep they may be, and what they may not ask for.

YAML of a run, a bundle or a folder of configs and JSON of a run or a bundle are read here first. Values
alone come out: no alias that unfolds to gigabytes, no tag, no interpolation that reads the environment.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
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
MOST_INTERPOLATIONS = 16
"""In a file of one's own configs: each may double what it is in, and so on."""
MOST_FILES = 2000
"""YAML files below a folder of one's own configs."""
ELSEWHERE = {"tracking_uri", "space_id", "entity", "mode"}
"""Keys of trackers that say who is told."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # thirty times as fast, where it is built


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


DECODER = json.JSONDecoder(parse_constant=_no_number)


class Foreign(ValueError):
    """Why a text of somebody else's is not read, in words."""


def yaml_values(text: str) -> Any:
    """Plain values of a YAML text without interpolations.

    Raises:
        Foreign: where it is no YAML, or more than values.
    """
    value = _loaded(text)
    for found in _scalars(value, DEEPEST):
        if isinstance(found, str) and "${" in found:
            raise Foreign("holds an interpolation, which no resolved config has; do not trust it")
    return value


def json_values(text: str) -> Any:
    """Plain values of a JSON text.

    Raises:
        Foreign: where it is no JSON, is nested too deep, or holds a number that JSON does not know.
    """
    if len(text) > LARGEST_JSON:
        raise Foreign(f"has more than {LARGEST_JSON >> 20} MiB")
    try:
        value = DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Foreign("is no JSON") from error
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


def check_configs(folder: Path) -> None:
    """Looks at the YAML files of a folder of configs before Hydra reads any of them.

    Raises:
        RequestError: naming the first that is too large, too deep, or more than plain YAML.
    """
    for number, file in enumerate(_yaml_files(folder, 4)):
        if number == MOST_FILES:
            raise RequestError(
                f"--config-dir: {folder} holds more than {MOST_FILES:,} YAML files; name a folder of configs"
            )
        try:
            text = read_text(file, LARGEST_YAML)
            _loaded(text)
            if text.count("${") > MOST_INTERPOLATIONS:
                raise Foreign(f"holds more than {MOST_INTERPOLATIONS} interpolations")
        except (OSError, Foreign) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise RequestError(f"--config-dir: {file} {why}; mend or remove it") from error


def check_hydra(node: Mapping[str, Any], typed: Sequence[str], trust: object) -> None:
    """Refuses a composed `hydra` node that would run anything but Hydra and its installed plug-ins.

    Args:
        typed: the overrides of the command line, which alone may name packages to trust.
        trust: of the composed config.

    Raises:
        RequestError: naming the key.
    """
    if trust and not any(o.lstrip("+").startswith("trust=") for o in typed):
        raise RequestError("trust: stands in a config; write it on the command line, trust=[their_package]")
    if node.get("callbacks"):
        raise RequestError("hydra.callbacks: would run code of a config's choice; leave them out")
    if (node.get("job") or {}).get("env_set"):
        raise RequestError("hydra.job.env_set: a config sets no environment; set it where you type")
    for key, value in _leaves(node, "hydra"):
        name, text = key.rpartition(".")[2], str(value)
        if name == "_target_" and not text.startswith(("hydra.", "hydra_plugins.")):
            raise RequestError(f"{key}: {text[:60]!r} is none of Hydra's; leave it out")
        if name in ("()", "class") and not text.startswith(("logging.", "colorlog.")):
            raise RequestError(f"{key}: {text[:60]!r} is no handler of logging; leave it out")


def check_loggers(loggers: Mapping[str, Mapping[str, Any]], given: Sequence[str], outputs: str) -> None:
    """Refuses loggers of a run that would send to a place which only the run names.

    Args:
        given: keys that the command line gives: whoever types an address means it.
        outputs: the folder of the run; what is written below it stays with it.

    Raises:
        RequestError: naming the key.
    """
    for name, node in loggers.items():
        for key in ELSEWHERE & node.keys() if "logger" not in given else ():
            place = str(node[key])
            local = node[key] is None or place in ("offline", f"sqlite:///{outputs}/mlflow.db")
            if not local and f"logger.{name}.{key}" not in given:
                raise RequestError(
                    f"logger.{name}.{key}: {place[:80]} is an address of the run's; give "
                    f"logger.{name}.{key}=... to send there, or logger=[console]"
                )


def check_typed(overrides: Sequence[str]) -> None:
    """Refuses a search path that would import a package, as Hydra does to look into it.

    Raises:
        RequestError: naming the override.
    """
    for override in overrides:
        if "searchpath" in override and "://" in override.replace("file://", ""):
            raise RequestError(f"{override[:80]}: names more than folders; name a folder by --config-dir")


def read_text(path: Path, largest: int) -> str:
    """A file of at most so many bytes, as text.

    Raises:
        OSError: where it cannot be read.
        Foreign: where it has more, or is no UTF-8.
    """
    with path.open("rb") as stream:  # a pipe or a device ends here as well
        data = stream.read(largest + 1)
    if len(data) > largest:
        raise Foreign(f"has more than {largest >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Foreign("is no UTF-8") from error


def _loaded(text: str) -> Any:
    """What a YAML text holds, once it is known to be bounded."""
    _scan(text)
    try:
        return _LOADER(text).get_single_data()
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        raise Foreign("is no YAML") from error


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
        raise Foreign("is no YAML") from error


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


def _leaves(node: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}")
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, key)
    else:
        yield key, node


def _yaml_files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return  # Hydra says what is wrong with it
    for entry in entries:
        if entry.is_dir():
            if depth and not entry.name.startswith("."):
                yield from _yaml_files(Path(entry.path), depth - 1)
        elif entry.name.endswith((".yaml", ".yml")):
            yield Path(entry.path)
