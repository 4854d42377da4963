"""What an export is compared on: a file, or what the bundle was adapted to where it lies as it lay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from coldstart_cli import api
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.exporting.export_probe import PROBE, probes
from coldstart_cli.errors import RequestError


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> Bundle:
    """Of 24 points in two classes, in points.npz."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by path
    x = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    np.savez("points.npz", x=x, y=np.repeat(["a", "b"], 12))
    return api.adapt(
        "strategy=nearest_centroid", "model=features", "hardware=cpu", "hardware.threads=1",
        "experiment=smoke", "dataset=arrays", "dataset.root=points.npz", bundle=Path("b"),
    )  # fmt: skip


def test_the_first_examples_that_it_was_adapted_to_are_compared(bundle: Bundle) -> None:
    (probe,) = probes(bundle, None)
    assert isinstance(probe.inputs, torch.Tensor) and isinstance(probe.own, torch.Tensor)
    assert probe.inputs.shape == (PROBE, 4) and torch.equal(probe.inputs, probe.own)


def test_one_example_of_a_file_is_taken_twice(bundle: Bundle) -> None:
    one = np.full((1, 4), 0.5, dtype=np.float32)
    np.savez("one.npz", x=one)
    (probe,) = probes(bundle, "one.npz")
    assert isinstance(probe.inputs, torch.Tensor)
    assert probe.inputs.tolist() == [[0.5] * 4] * 2


def test_examples_that_are_others_now_are_refused(bundle: Bundle) -> None:
    x = np.zeros((24, 4), dtype=np.float32)
    np.savez("points.npz", x=x, y=np.repeat(["a", "b"], 12))
    with pytest.raises(RequestError, match=r"^input: .*points\.npz holds other examples .*input=PATH"):
        probes(bundle, None)


def test_examples_that_are_gone_are_refused(bundle: Bundle) -> None:
    Path("points.npz").unlink()
    with pytest.raises(RequestError, match=r"^input: what the bundle was adapted to is not there .*input="):
        probes(bundle, None)
