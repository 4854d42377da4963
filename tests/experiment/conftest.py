"""A small experiment on sinusoids: its config, which a test may change, and the experiment built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coldstart_cli.config import composition
from coldstart_cli.experiment.assembly import Experiment, assemble

SINES = (
    "experiment=smoke", "dataset=sinusoid", "model=mlp", "model.hidden=[8]", "strategy=maml", "baseline=null",
    "hardware=cpu", "hardware.threads=1", "training.steps=2", "training.log_every=1",
    "training.validation.every=2", "evaluation.n_tasks=2", "evaluation.n_selection_tasks=2",
    "evaluation.timed_seconds=0.01", "logger=[]",
)  # fmt: skip


@pytest.fixture
def sines() -> dict[str, Any]:
    """The config."""
    ((_, config),) = composition.points(SINES)
    return config


@pytest.fixture
def small_experiment(sines: dict[str, Any], torch_settings: None) -> Callable[..., Experiment]:
    """Assembles the config with other values: `training={"steps": 4}`."""

    def make(**parts: Any) -> Experiment:
        config = dict(sines)
        for key, value in parts.items():
            both = isinstance(value, dict) and isinstance(sines[key], dict)
            config[key] = {**sines[key], **value} if both else value
        return assemble(config)

    return make
