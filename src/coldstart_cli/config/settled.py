"""What a composed config still needs before it describes a run: its own nodes, its names, settled values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coldstart_cli.errors import RequestError

_GROUPS = ("strategy", "model", "dataset")
_NODES = ("sweep", "training", "training.augment", "training.validation")
"""What conf/train.yaml holds as mappings of its own, a parent before its children."""


def settled(config: dict[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """A composed config of plain values, with `names`, which says which configs were chosen.

    `training.validation.adaptation_steps` becomes a number: where it is null, the strategy's `inner_steps`,
    which it trains with, or where it trains with none, the most of evaluation.steps.

    Args:
        choices: group -> name, as Hydra keeps them.

    Raises:
        RequestError: where nothing is chosen of a group, and where a value stands in place of a node.
    """
    for key in _NODES:
        parent, _, name = key.rpartition(".")
        node = (config.get(parent, {}) if parent else config).get(name, {})
        if not isinstance(node, Mapping):  # Hydra puts it there without a word
            raise RequestError(f"{key}: {node!r} takes the place of several keys; write {key}.KEY=VALUE")
    for group in _GROUPS:
        if group not in choices:
            raise RequestError(f"{group}: nothing is chosen; write {group}=NAME (coldstart ls {group})")
    baseline = choices.get("strategy@baseline")
    config["names"] = {group: str(choices[group]) for group in _GROUPS}
    config["names"]["baseline"] = None if baseline is None else str(baseline)
    _settle_validation_steps(config)
    return config


def _settle_validation_steps(config: dict[str, Any]) -> None:
    """Puts a number in the place of training.validation.adaptation_steps=null.

    It is settled here, since what selects the best state determines the weights and so the run's name.
    """
    try:
        plan, steps = config["training"]["validation"], config["evaluation"]["steps"]
        own = config["strategy"].get("inner_steps")
        if plan["adaptation_steps"] is None:
            plan["adaptation_steps"] = max(steps) if own is None else own
    except (AttributeError, KeyError, TypeError, ValueError):
        return  # another part is wrong, which `assembly.check_values` names
