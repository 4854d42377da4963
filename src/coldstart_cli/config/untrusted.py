"""Checks of configs that somebody else may have written, before Hydra acts on them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.errors import RequestError
from coldstart_cli.files.plain_yaml import LARGEST_YAML, loaded
from coldstart_cli.files.regular import check_no_loop
from coldstart_cli.files.untrusted import Foreign, read_text

MOST_INTERPOLATIONS = 16
"""Most interpolations in a file of configs: each can double what contains it, and so on."""


MOST_FILES = 2000
"""Most YAML files in a folder of configs."""


MOST_ENTRIES = 20_000
"""Files and folders of any kind below it: looking through them takes a second."""


DEEPEST_FOLDER = 4
"""Folders in one another; hydra/launcher/ are two, and paper/ in strategy/ is the second there."""


HANDLERS = (
    "logging.StreamHandler",
    "logging.NullHandler",
    "logging.Formatter",
    "colorlog.ColoredFormatter",
)
"""What a config of Hydra's logging may name. A handler that opens files or sockets is not among them."""


STREAMS = ("ext://sys.stdout", "ext://sys.stderr")


MADE_BY_HYDRA = ("hydra.launcher._target_", "hydra.sweeper._target_")
"""The places where Hydra makes an object of what a config names, as long as there are no callbacks."""


OF_THE_COMMAND = ("hydra.overrides.", "hydra.runtime.", "hydra.searchpath", "hydra.job.override_dirname")
"""What Hydra itself writes there; it differs wherever the command does."""


RESOURCES = {
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "partition", "qos",
    "constraint", "exclude", "gres", "cpus_per_gpu", "gpus_per_task", "mem_per_gpu", "mem_per_cpu", "account",
    "signal_delay_s", "max_num_timeout", "array_parallelism", "stderr_to_stdout", "n_jobs",
}  # fmt: skip
"""Keys of a launcher that a folder of configs may set: how much of which machine, in numbers and words."""


ELSEWHERE = {"tracking_uri", "space_id", "entity", "mode"}
"""Keys of trackers that say where data are sent."""


def check_configs(folder: Path) -> None:
    """Checks the YAML files of a folder of configs before Hydra reads any of them.

    Raises:
        RequestError: naming the first that is too large, too deep, or more than plain YAML.
    """
    for number, file in enumerate(_yaml_files(folder)):
        if number == MOST_FILES:
            raise RequestError(
                f"--config-dir: {folder} holds more than {MOST_FILES:,} YAML files; name a folder of configs"
            )
        try:
            text = read_text(file, LARGEST_YAML)
            loaded(text)
            # Counted in the text, before anything resolves them.
            if text.count("${") > MOST_INTERPOLATIONS:
                raise Foreign(f"holds more than {MOST_INTERPOLATIONS} interpolations")
        except (OSError, Foreign) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise RequestError(f"--config-dir: {file} {why}; fix or remove it") from error


def check_hydra(
    node: Mapping[str, Any], typed: Sequence[str], trust: object, plugins: Collection[str]
) -> None:
    """Refuses a composed `hydra` node that would run anything but Hydra and its installed plug-ins.

    Args:
        typed: the overrides of the command line, which alone may name packages to trust.
        trust: of the composed config.
        plugins: the classes that installed plug-ins define, by their full names.

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
        # Whole names, never their beginnings: hydra.utils.call lies in hydra too, and runs what it is given.
        if key.rpartition(".")[2] == "_target_" and not (key in MADE_BY_HYDRA and value in plugins):
            raise RequestError(
                f"{key}: {str(value)[:60]!r} is no launcher or sweeper that is installed; leave it out"
            )
    for part in ("hydra_logging", "job_logging"):
        _check_logging(node.get(part), f"hydra.{part}")


def _check_logging(node: object, key: str) -> None:
    """Refuses what Python's logging would import, call or open for a config.

    A name is compared as a whole: `logging.os.system` begins like a handler, and logging.FileHandler is one
    that writes into any file. Texts are not resolved here, so one with an interpolation is refused as well.
    """
    for place, value in _leaves(node, key):
        name, text = place.rpartition(".")[2], str(value)
        if name in ("()", "class") and text not in HANDLERS:
            raise RequestError(f"{place}: {text[:60]!r} is none of {', '.join(HANDLERS)}; leave it out")
        if ("://" in text and text not in STREAMS) or "${" in text:  # ext://module.name imports the module
            raise RequestError(f"{place}: {text[:60]!r} is none of {', '.join(STREAMS)}; leave it out")


def check_changed_hydra(node: Mapping[str, Any], without: Mapping[str, Any], typed: Sequence[str]) -> None:
    """Refuses settings of Hydra that come out of a folder of configs: they write files and reach shells.

    hydra.launcher.setup of submitit are lines of a shell; hydra.run.dir and output_subdir say where to write.

    Args:
        without: the `hydra` node as it is composed without the folder.
        typed: the overrides of the command line: whoever types a key means it.

    Raises:
        RequestError: naming the key.
    """
    keys = {o.lstrip("+~").partition("=")[0] for o in typed}
    before = dict(_settings(without, "hydra"))
    for key, value in _settings(node, "hydra"):
        if before.get(key) == value or any(f"{key}.".startswith(f"{given}.") for given in keys):
            continue
        if key.startswith(OF_THE_COMMAND) or (key in MADE_BY_HYDRA):
            continue
        asks_for_a_machine = (
            key.rpartition(".")[0] == "hydra.launcher" and key.rpartition(".")[2] in RESOURCES
        )
        if not (asks_for_a_machine and re.fullmatch(r"[\w.:+-]{0,80}", str(value))):
            raise RequestError(
                f"{key}: a config changes it; give {key}=... on the command line to mean it, or leave it out"
            )


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
    """Refuses a search path that was typed: nobody looks into its folders, and Hydra imports its packages.

    Raises:
        RequestError: naming the override.
    """
    for override in overrides:
        if "hydra.searchpath" in override.partition("=")[0]:
            raise RequestError("hydra.searchpath: is not typed; name folders of configs by --config-dir DIR")


def _leaves(node: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}")
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, key)
    else:
        yield key, node


def _settings(node: Mapping[str, Any], key: str) -> Iterator[tuple[str, object]]:
    """As `_leaves`, with a list as one value, and a mapping that holds nothing as a value."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _settings(value, f"{key}.{name}")
        else:
            yield f"{key}.{name}", value


def _yaml_files(folder: Path) -> Iterator[Path]:
    """The YAML files of a folder and of the folders in it; links are followed, as Hydra follows them.

    Raises:
        RequestError: where there is more than any folder of configs holds, or no end.
    """
    folders, n_entries = [(folder, 0)], 0
    while folders:
        place, depth = folders.pop()
        try:
            check_no_loop(place)
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise RequestError(
                f"--config-dir: {place} cannot be read ({error.strerror}); fix or remove it"
            ) from error
        n_entries += len(entries)
        if n_entries > MOST_ENTRIES:
            raise RequestError(
                f"--config-dir: {folder} holds more than {MOST_ENTRIES:,} files and folders; name a folder "
                "of configs"
            )
        for entry in entries:
            if entry.is_dir():
                if depth < DEEPEST_FOLDER and not entry.name.startswith("."):
                    folders.append((Path(entry.path), depth + 1))
            elif entry.name.endswith((".yaml", ".yml")):
                yield Path(entry.path)
