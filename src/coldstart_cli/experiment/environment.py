"""What a reader needs to run something again, and to judge its figures of time."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.experiment.parts import shape_facts
from coldstart_cli.files.git_commit import head_commit


def environment(experiment: Experiment, command_line: Sequence[str]) -> dict[str, Any]:
    """What a reader needs to run this again, and to judge its figures of time."""
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
        # How your own data were read: a new task is read alike, so that columns and scales agree.
        "recipe": dict(getattr(getattr(experiment.source, "labelled", None), "recipe", {})),
    }
