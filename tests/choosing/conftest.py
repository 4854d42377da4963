"""A table of three classes, read as a person's own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

TABLE = ("dataset=tabular", "dataset.root=table.csv", "hardware=cpu", "hardware.threads=1")
QUICK = ("candidates=[ridge,nearest_centroid]",)


def write_table(path: Path, n: int, noise: float, seed: int = 0) -> None:
    """n rows of each class; its two columns tell the classes apart as far as the noise allows."""
    generator = np.random.default_rng(seed)
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "label"])
        for label, centre in {"x": (0, 0), "y": (2, 0), "z": (0, 2)}.items():
            for _ in range(n):
                writer.writerow([*np.round(generator.normal(centre, noise), 3), label])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})
    write_table(Path("table.csv"), 8, 0.4)
    return tmp_path
