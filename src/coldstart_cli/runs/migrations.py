"""What older versions wrote, made readable: run.json by its format number, configs by the keys they lack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from coldstart_cli.errors import RequestError
from coldstart_cli.package import packaged_conf
from coldstart_cli.renamed import RENAMED, as_first_named

FORMAT = 2
"""Written into run.json. A reader migrates older formats and refuses newer ones."""


def migrated(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """A run.json, of the run at `path`, in this version's format.

    Raises:
        RequestError: where it has no format, or a newer one.
    """
    version = state.get("format")
    if not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise RequestError(
            f"run: {path} has format {version}, this coldstart reads up to {FORMAT}; install a newer one "
            "(E33)"
        )
    # One format at a time, so that each migration knows only its neighbour.
    for step in range(version, FORMAT):
        state = MIGRATIONS[step](state)
    return state


def _examples_unknown(state: dict[str, Any]) -> dict[str, Any]:
    """To format 2, which counts the labelled source examples that training drew."""
    return {**state, "format": 2, "examples": None}


MIGRATIONS: dict[int, Any] = {1: _examples_unknown}
"""format n -> a function that turns a run.json of format n into one of n + 1."""


_AS_THEY_ARE: dict[str, Any] = {
    "_target_": "coldstart_cli.training.Augmentation",
    "shift": 0.0,
    "rotation": 0.0,
    "scale": 0.0,
}
_AS_READ = {"standardise": None}
_HEAD = {"head_lr": None}
_OF_BODY: dict[str, Any] = {"layer": None, "dtype": "fp32", "adapter": None}
_UNNAMED = {"name_weight": 0.0}
_DESCRIBED: dict[str, Any] = {"descriptions": None, "descriptions_beside": False}
_SHARED: dict[str, Any] = {"shared_labels": False, "leave_out": None, **_DESCRIBED}
NEUTRAL: dict[str, dict[str, Any]] = {
    "coldstart_cli.models.CausalLM": {"checkpointing": False, "adapter": None},
    "coldstart_cli.models.FrozenText": _OF_BODY,
    "coldstart_cli.models.HFText": _OF_BODY,
    "coldstart_cli.models.Tokens": {"in_prompt": False},
    "coldstart_cli.strategies.FEAT": _AS_READ,
    "coldstart_cli.strategies.MatchingNetwork": {"temperature": 1.0, "learn_temperature": False, **_AS_READ},
    "coldstart_cli.strategies.NearestCentroid": {"temperature": 1.0, **_UNNAMED},
    "coldstart_cli.strategies.ProtoNet": {
        "temperature": 1.0,
        "learn_temperature": False,
        **_AS_READ,
        **_UNNAMED,
    },
    "coldstart_cli.strategies.R2D2": {**_AS_READ, **_UNNAMED},
    "coldstart_cli.strategies.SimpleCNAPs": _AS_READ,
    "coldstart_cli.strategies.SoftKMeans": _UNNAMED,
    "coldstart_cli.strategies.Reptile": {"outer_lr": None, "carry_state": False},
    "coldstart_cli.datasets.sensors": {"on_bad": "stop"},
    "coldstart_cli.datasets.arrays": {
        "channel_axis": None,
        "standardise": False,
        "group_key": None,
        **_SHARED,
    },
    "coldstart_cli.datasets.banking77": _DESCRIBED,
    "coldstart_cli.datasets.clinc150": _DESCRIBED,
    "coldstart_cli.datasets.image_folder": {
        "invert": False,
        "file_list": None,
        "file_column": "file",
        "label_column": "label",
        "task_column": None,
        "split_column": None,
        "group_column": None,
        "labelled": [],
        **_SHARED,
    },
    "coldstart_cli.datasets.tabular": {"group_column": None, "sheet": None, "labelled": [], **_SHARED},
    "coldstart_cli.datasets.text": {"group_column": None, "sheet": None, "labelled": [], **_SHARED},
    "coldstart_cli.experiment.TrainingPlan": {"examples": None, "trials": None, "augment": _AS_THEY_ARE},
    "coldstart_cli.strategies.BornAgain": _HEAD,
    "coldstart_cli.strategies.CoTuning": _HEAD,
    "coldstart_cli.strategies.Distillation": {
        "attention_weight": 0.0,
        "hint_share": 0.0,
        "teacher_lr": None,
        "teacher_rule": None,
        **_HEAD,
    },
    "coldstart_cli.strategies.DomainAdversarial": _HEAD,
    "coldstart_cli.strategies.FineTune": _HEAD,
    "coldstart_cli.strategies.Guarded": {"fallback_steps": None, "fallback_search": {}},
    "coldstart_cli.strategies.L2SP": _HEAD,
    "coldstart_cli.strategies.LPFT": _HEAD,
    "coldstart_cli.strategies.Logistic": {"C_search": None, **_UNNAMED},
    "coldstart_cli.strategies.LoRA": {
        "rank_stabilised": False,
        "targets": None,
        "dropout": 0.0,
        "clip_norm": None,
        **_HEAD,
    },
    "coldstart_cli.strategies.SourceSelection": {"pooled_share": None, "components": 1, **_HEAD},
    "coldstart_cli.strategies.TaskEncoder": {"gate_penalty": 0.0},
    "coldstart_cli.strategies.TipAdapter": {"search": {}, "search_share": 0.1},
    "coldstart_cli.strategies.ccsa": _HEAD,
    "coldstart_cli.strategies.coral": _HEAD,
    "coldstart_cli.strategies.mmd": {"unbiased": False, **_HEAD},
    "coldstart_cli.evaluation.EvaluationPlan": {"ablate": False, "n_source_tasks": None},
}
"""class -> keys that it has gained since, with the values that change nothing: a hash leaves them out there.

So a run keeps its name when a class gains a key, and the same command finds the run of an older coldstart.
"""
REDESIGNED: Mapping[str, int] = {
    "coldstart_cli.strategies.FiLM": 2,
    "coldstart_cli.strategies.LoRA": 2,  # other first factors
    "coldstart_cli.strategies.TaskEncoder": 2,
}
"""class -> the number of its design, where one of before learned or adapted otherwise from the same config.

It stands in hashes, so that no command takes a run of an earlier design for its own.
"""
_WRITTEN: dict[str, Any] = {"delimiter": "auto", "quoted": None, "header": True}
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
"""class -> keys gained before `NEUTRAL`, with the values that change nothing; hashes hold them."""


def as_hashed(node: Any, *, designs: Mapping[str, int] = REDESIGNED) -> Any:
    """A config for a hash: by its first names, and without the keys that a class gained at neutral values.

    Args:
        designs: classes that were redesigned; none: as before they were.
    """
    return _without_neutral(as_first_named(node), designs)


def _without_neutral(node: Any, designs: Mapping[str, int]) -> Any:
    if isinstance(node, list):
        return [_without_neutral(item, designs) for item in node]
    if not isinstance(node, Mapping):
        return node
    target = str(node.get("_target_"))
    name = RENAMED.get(target, target)
    neutral = NEUTRAL.get(name, {})
    # The type as well: False == 0, and a key that is 0 need not be neutral where False is.
    kept = {
        key: value
        for key, value in node.items()
        if not (key in neutral and type(value) is type(neutral[key]) and value == neutral[key])
    }
    below = {key: _without_neutral(value, designs) for key, value in kept.items()}
    return {**below, "design": designs[name]} if name in designs else below


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """A run's config with every key that this version has.

    Keys that `EvaluationPlan` has gained since the run was written get their values from
    conf/evaluation/standard.yaml, which do not change what an earlier evaluation asked for; keys that a
    strategy or a data set has gained (`GAINED`, `NEUTRAL`) get the values that keep its earlier behaviour.
    """
    config = {name: as_it_was(node) for name, node in config.items()}
    hardware = config.get("hardware")
    if isinstance(hardware, dict):
        config = {
            **config,
            "hardware": {"processes": 1, "replay": True, "shard": False, "compile": False, **hardware},
        }
    asked = config.get("evaluation")
    standard = yaml.safe_load((packaged_conf() / "evaluation" / "standard.yaml").read_text(encoding="utf-8"))
    if not isinstance(asked, dict) or asked.get("_target_") != standard["_target_"]:
        return config
    return {**config, "evaluation": _filled(asked, standard)}


def _filled(given: Mapping[str, Any], standard: Mapping[str, Any]) -> dict[str, Any]:
    """`given`, completed by what only `standard` has, also in nested objects of the same class."""
    filled = {**standard, **given}
    for key, value in given.items():
        if isinstance(value, dict) and "_target_" in value:
            other = standard.get(key)
            if isinstance(other, dict) and other.get("_target_") == value["_target_"]:
                filled[key] = _filled(value, other)
    return filled


def as_it_was(node: Any) -> Any:
    """The node, and everything below it, with the keys that its class has gained."""
    if isinstance(node, list):
        return [as_it_was(item) for item in node]
    if not isinstance(node, dict):
        return node
    below = {key: as_it_was(value) for key, value in node.items()}
    target = str(node.get("_target_"))
    return {**GAINED.get(target, {}), **NEUTRAL.get(target, {}), **below}
