"""Checks of configs that somebody else may have written, before Hydra acts on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.errors import RequestError
from coldstart_cli.files.untrusted import LARGEST_YAML, Foreign, _loaded, read_text

MOST_INTERPOLATIONS = 16
"""Most interpolations in a file of configs: each can double what contains it, and so on."""


MOST_FILES = 2000
"""Most YAML files in a folder of configs."""


ELSEWHERE = {"tracking_uri", "space_id", "entity", "mode"}
"""Keys of trackers that say where data are sent."""


def check_configs(folder: Path) -> None:
    """Checks the YAML files of a folder of configs before Hydra reads any of them.

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
            # Counted in the text, before anything resolves them.
            if text.count("${") > MOST_INTERPOLATIONS:
                raise Foreign(f"holds more than {MOST_INTERPOLATIONS} interpolations")
        except (OSError, Foreign) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise RequestError(f"--config-dir: {file} {why}; fix or remove it") from error


def check_hydra(node: Mapping[str, Any], typed: Sequence[str], trust: object) -> None:
    """Refuses a composed `hydra` node that would run anything but Hydra and its installed plug-ins.

    Args:
        typed: the overrides of the command line, the only place that may name packages to trust.
        trust: that of the composed config.

    Raises:
        RequestError: naming the key.
    """
    if trust and not any(o.lstrip("+").startswith("trust=") for o in typed):
        raise RequestError("trust: is set in a config; write it on the command line, trust=[their_package]")
    if node.get("callbacks"):
        raise RequestError("hydra.callbacks: would run code that a config chooses; leave them out")
    if (node.get("job") or {}).get("env_set"):
        raise RequestError("hydra.job.env_set: a config must not set the environment; set it in your shell")
    for key, value in _leaves(node, "hydra"):
        name, text = key.rpartition(".")[2], str(value)
        if name == "_target_" and not text.startswith(("hydra.", "hydra_plugins.")):
            raise RequestError(f"{key}: {text[:60]!r} is not part of Hydra; leave it out")
        # `()` and `class` are how a logging config names a class to call.
        if name in ("()", "class") and not text.startswith(("logging.", "colorlog.")):
            raise RequestError(f"{key}: {text[:60]!r} is not a logging handler; leave it out")


def check_loggers(loggers: Mapping[str, Mapping[str, Any]], given: Sequence[str], outputs: str) -> None:
    """Refuses loggers of a run that would send data to a place that only the run names.

    Args:
        given: keys on the command line: an address that is typed there is meant.
        outputs: the folder of the run; data written into it stay on this machine.

    Raises:
        RequestError: naming the key.
    """
    for name, node in loggers.items():
        for key in ELSEWHERE & node.keys() if "logger" not in given else ():
            place = str(node[key])
            local = node[key] is None or place in ("offline", f"sqlite:///{outputs}/mlflow.db")
            if not local and f"logger.{name}.{key}" not in given:
                raise RequestError(
                    f"logger.{name}.{key}: {place[:80]} is an address that the run names; give "
                    f"logger.{name}.{key}=... to send there, or logger=[console]"
                )


def check_typed(overrides: Sequence[str]) -> None:
    """Refuses a search path for which Hydra would import a package.

    Raises:
        RequestError: naming the override.
    """
    for override in overrides:
        if "searchpath" in override and "://" in override.replace("file://", ""):
            raise RequestError(f"{override[:80]}: is not a folder; name folders by --config-dir")


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
        return  # Hydra will say what is wrong with it
    for entry in entries:
        if entry.is_dir():
            if depth and not entry.name.startswith("."):
                yield from _yaml_files(Path(entry.path), depth - 1)
        elif entry.name.endswith((".yaml", ".yml")):
            yield Path(entry.path)
