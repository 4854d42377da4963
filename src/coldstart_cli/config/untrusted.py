"""Configs that somebody else may have written: refused before Hydra acts on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.errors import RequestError
from coldstart_cli.files.untrusted import LARGEST_YAML, Foreign, _loaded, read_text

MOST_INTERPOLATIONS = 16
"""In a file of your own configs: each may double what it is in, and so on."""


MOST_FILES = 2000
"""YAML files below a folder of your own configs."""


ELSEWHERE = {"tracking_uri", "space_id", "entity", "mode"}
"""Keys of trackers that say who is told."""


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
            raise RequestError(f"{key}: {text[:60]!r} is not a logging handler; leave it out")


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
