"""Readings of devices: which sensors are noisy is the task's, not an example's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.sensors import Device, sensors
from coldstart_cli.datasets.episodes.counter import task_keys
from coldstart_cli.datasets.episodes.per_task import QUERY, SUPPORT, PerTask
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain


def made(**changes: Any) -> PerTask:
    values: dict[str, Any] = {
        "bank_seed": 0, "n_way": 4, "k_shot": 3, "n_query": 5, "n_unlabelled": 2, "root": None,
        "noisy_share": 0.5, "noise": 3.0, "gain": 0.0, "split_seed": 0, "validation_share": 0.2,
        "new_share": 0.3, "on_bad": "stop",
    }  # fmt: skip
    return sensors(Plain(), **{**values, **changes})


def test_a_device_is_noisy_in_a_share_of_its_sensors_alone() -> None:
    key = task_keys(0, "new", [0])
    said = [Device(0.25, 2.0, 0.0)(key, part, torch.zeros(500, 40), range(500)) for part in (SUPPORT, QUERY)]
    deviations = torch.stack([of.std(0) for of in said])
    noisy = deviations > 0
    assert noisy.sum(1).tolist() == [10, 10] and torch.equal(noisy[0], noisy[1])
    np.testing.assert_allclose(deviations[noisy], 2.0, rtol=0.2)
    assert not torch.equal(said[0], said[1])
    other = Device(0.25, 2.0, 0.0)(task_keys(0, "new", [1]), SUPPORT, torch.zeros(500, 40), range(500))
    assert not torch.equal(other.std(0) > 0, noisy[0])


def test_gains_are_those_of_the_device() -> None:
    said = Device(0.0, 2.0, 0.5)(task_keys(0, "new", [0]), SUPPORT, torch.ones(3, 4000), range(3))
    assert torch.equal(said[0], said[1])
    np.testing.assert_allclose(said[0].log().std(), 0.5, rtol=0.1)


def test_an_example_is_read_alike_for_every_k() -> None:
    source = made()
    few = source.with_shape(TaskShape(4, 1, 5, 2))
    (many,), (task,) = source.tasks("new", [2]), few.tasks("new", [2])
    assert torch.equal(many.support.inputs.view(4, 3, -1)[:, 0], task.support.inputs)  # type: ignore[union-attr]
    assert torch.equal(many.query.inputs, task.query.inputs)  # type: ignore[arg-type]


def test_a_pool_gives_an_example_the_same_readings_each_time() -> None:
    pool = made().pool("train")
    both, one = pool.examples(torch.tensor([3, 7])), pool.examples(torch.tensor([7]))
    assert torch.equal(both.inputs[1:], one.inputs)  # type: ignore[index, arg-type]


def test_vectors_of_your_own(tmp_path: Path) -> None:
    g = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=g.normal(5, 2, (200, 6)).astype(np.float32), y=np.arange(200) % 20)
    source = made(root=str(tmp_path / "x.npz"), noise=0.0, n_unlabelled=0, k_shot=1, n_query=3)
    task = source.tasks("new", [0])[0]
    assert task.support.inputs.shape == (4, 6)  # type: ignore[union-attr]
    assert abs(float(source.pool("train").examples(torch.arange(80)).inputs.mean())) < 0.3  # type: ignore[union-attr]
    with pytest.raises(RequestError, match=r"none\.npz"):
        made(root=str(tmp_path / "none.npz"))


def test_what_is_no_table_of_vectors_is_refused_and_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    path = str(tmp_path / "x.npz")
    np.savez(path, x=np.zeros((200, 1, 8, 8), np.uint8), y=np.arange(200) % 20)
    with pytest.raises(RequestError, match=r"^dataset\.root: .* rows of shape \(1, 8, 8\), sensors reads v"):
        made(root=path)
    x = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    x[3, 2] = np.nan
    np.savez(path, x=x, y=np.arange(200) % 20)
    with pytest.raises(RequestError, match=r"row 3: x is not finite.*on_bad=skip"):
        made(root=path)
    with pytest.warns(RuntimeWarning, match="1 could not be read and left out"):
        made(root=path, on_bad="skip")
