"""Runs that take a second, and what they left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

SINES = ("dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1")
QUICK = (
    *SINES, "strategy.inner_lr=0.01", "evaluation.baseline_search.lr=[0.001]", "evaluation.n_tasks=4",
    "evaluation.n_selection_tasks=2", "training.steps=6", "training.log_every=2",
    "training.validation.every=3",
)  # fmt: skip

Cli = Callable[..., tuple[int, str, str]]


def only_run(outputs: Path) -> Path:
    (run,) = [path for path in outputs.iterdir() if path.name != "sweeps"]
    return run


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def records(run: Path) -> list[dict[str, Any]]:
    """All records of a run's evaluations, without times."""
    return [
        {name: value for name, value in json.loads(line).items() if name != "adapt_seconds"}
        for path in sorted(run.glob("evaluations/*/records.jsonl"))
        for line in path.read_text().splitlines()
    ]
