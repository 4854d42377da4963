"""What a reader needs to run something again, and to judge its figures of time."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from coldstart_cli.core.tasks import TaskSource
from coldstart_cli.datasets.own import input_range
from coldstart_cli.datasets.own.shift import Ranges
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.experiment.parts import files_read_by, shape_facts
from coldstart_cli.files.git_commit import head_commit


def _shared_classes(source: TaskSource) -> list[str]:
    """Names of the classes that the rows of the source's head stand for, where new tasks share them."""
    if not (source.shares_labels and source.has_source and source.shape.n_way is not None):
        return []
    return list(source.pool("train").names)


def _ranges(source: TaskSource) -> Ranges:
    """What the network is trained on, so that inputs of another scale are noticed later."""
    return input_range.ranges_of_pool(source.pool("train")) if source.has_source else {}


def environment(experiment: Experiment, command_line: Sequence[str]) -> dict[str, Any]:
    """What a reader needs to run this again, and to judge its figures of time."""
    pretrained = files_read_by(experiment.config, experiment.strategy)
    packages = {}
    for package in ("coldstart-cli", "torch", "numpy", "hydra-core", "omegaconf", "scipy", "transformers"):
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = "not installed as a package"
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "hardware": experiment.hardware.facts(),
        "vectorize": "vmap" if experiment.vectorize else "loop",
        # Of the folder where the command was typed. Not by asking git, which may run a stranger's programs.
        "git": head_commit(Path.cwd()),
        "command_line": list(command_line),
        "fingerprint": experiment.source.fingerprint,
        "input_shape": shape_facts(experiment.source),
        "facts": dict(experiment.facts),
        "source_classes": _shared_classes(experiment.source),
        "input_ranges": input_range.as_json(_ranges(experiment.source)),
        # What lies at model.path, by content: other files there would change predictions without a word.
        "pretrained": None if pretrained is None else asdict(pretrained),
        # How your own data were read: a new task is read the same way, so that columns and scales agree.
        "recipe": dict(getattr(getattr(experiment.source, "labelled", None), "recipe", {})),
    }
