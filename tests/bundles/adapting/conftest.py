"""A small task of one's own: twelve rows of two classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coldstart_cli.config import composition

SMALL = (
    "model=mlp", "model.hidden=[4]", "dataset=arrays", "dataset.root=points.npz", "hardware=cpu",
    "hardware.threads=1", "experiment=smoke", "baseline=null",
)  # fmt: skip


@pytest.fixture
def config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None
) -> Callable[..., dict[str, Any]]:
    """The config of `adapt` with some overrides, in a folder that holds the task."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by path
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    np.savez("points.npz", x=x, y=np.repeat(["a", "b"], 6))

    def call(*overrides: str) -> dict[str, Any]:
        ((_, found),) = composition.points([*SMALL, *overrides])
        return found

    return call
