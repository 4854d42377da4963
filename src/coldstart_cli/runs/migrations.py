"""What an older coldstart wrote, as today's reads it: run.json by its format, configs by what they lack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from coldstart_cli.errors import RequestError
from coldstart_cli.package import packaged_conf

FORMAT = 2
"""Written into run.json. A reader migrates older formats and refuses newer ones."""


def migrated(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """A run.json, of the run at `path`, in this version's format.

    Raises:
        RequestError: if it has no format, or a newer one.
    """
    version = state.get("format")
    if not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise RequestError(
            f"run: {path} has format {version}, this coldstart reads up to {FORMAT}; install a newer one"
        )
    for step in range(version, FORMAT):
        state = MIGRATIONS[step](state)
    return state


def _examples_unknown(state: dict[str, Any]) -> dict[str, Any]:
    """Format 2 counts the labelled source examples that training drew."""
    return {**state, "format": 2, "examples": None}


MIGRATIONS: dict[int, Any] = {1: _examples_unknown}
"""format n -> a function that turns a run.json of format n into one of n + 1."""


_WRITTEN: dict[str, Any] = {"delimiter": "auto", "quoted": None, "header": True, "group_column": None}
_OWN = {
    f"coldstart_cli.datasets.{layout}": {"unequal": False, **more}
    for layout, more in {
        "arrays": {"target": "auto"},
        "image_folder": dict[str, Any](),
        "tabular": {**_WRITTEN, "decimal": "point", "keep": []},
        "text": _WRITTEN,
    }.items()
}
GAINED: dict[str, dict[str, Any]] = {
    "coldstart_cli.strategies.FineTune": {"support_batch_size": None},
    "coldstart_cli.strategies.LoRA": {"support_batch_size": None},
    "coldstart_cli.strategies.R2D2": {"source_training": True},
    **_OWN,
}
"""class -> keys that it has gained, with the values that change nothing."""


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """A run's config with all that its evaluation can be asked today.

    Keys that `EvaluationPlan` has gained since the run was written get their values of
    conf/evaluation/standard.yaml, which are chosen so that they leave what was asked as it was; keys that a
    strategy or a data set has gained (`GAINED`), the values that do what it did without them.
    """
    config = {name: _as_it_was(node) for name, node in config.items()}
    hardware = config.get("hardware")
    if isinstance(hardware, dict):
        config = {**config, "hardware": {"processes": 1, "replay": True, **hardware}}
    asked = config.get("evaluation")
    standard = yaml.safe_load((packaged_conf() / "evaluation" / "standard.yaml").read_text(encoding="utf-8"))
    if not isinstance(asked, dict) or asked.get("_target_") != standard["_target_"]:
        return config
    return {**config, "evaluation": _filled(asked, standard)}


def _filled(given: Mapping[str, Any], standard: Mapping[str, Any]) -> dict[str, Any]:
    """`given` and what `standard` has beyond it, in nested objects of the same class as well."""
    filled = {**standard, **given}
    for key, value in given.items():
        if isinstance(value, dict) and "_target_" in value:
            other = standard.get(key)
            if isinstance(other, dict) and other.get("_target_") == value["_target_"]:
                filled[key] = _filled(value, other)
    return filled


def _as_it_was(node: Any) -> Any:
    """The node, and all below it, with the keys that its class has gained."""
    if isinstance(node, list):
        return [_as_it_was(item) for item in node]
    if not isinstance(node, dict):
        return node
    below = {key: _as_it_was(value) for key, value in node.items()}
    return {**GAINED.get(str(node.get("_target_")), {}), **below}
