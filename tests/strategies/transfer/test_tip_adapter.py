"""Tip-Adapter against numpy and torch's optimizer; over a small CLIP, zero-shot as name_centroid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Support, Task
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.transfer.tip_adapter import TipAdapter, memory_logits

Make = Callable[..., Experiment]


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Six classes of coloured squares, called w0 to w5, as overrides."""
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    for c in range(6):
        (tmp_path / "pictures" / f"w{c}").mkdir(parents=True)
        for i in range(8):
            pixels = generator.integers(0, 60, (16, 16, 3)) + 30 * np.array([c, 5 - c, c % 2])
            image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "pictures" / f"w{c}" / f"{i}.png")
    return ["dataset=image_folder", f"dataset.root={tmp_path / 'pictures'}", "dataset.n_way=2",
            "dataset.k_shot=2", "dataset.validation_share=0.34", "dataset.new_share=0.34"]  # fmt: skip


def made_on(experiment: Make, clip: Path, pictures: list[str], *overrides: str) -> tuple[Experiment, Task]:
    made = experiment(
        "model=clip", f"model.path={clip}", "model.preprocess.before=''", "model.preprocess.after=''",
        "dataset.n_query=3", *pictures, *overrides,
    )  # fmt: skip
    made.strategy.double().eval()
    return made, made.source.tasks("new", [0])[0]


def said(strategy: torch.nn.Module, support: Support, task: Task, step: int = 0) -> Tensor:
    *_, item = islice(strategy.adapt(support), step + 1)  # type: ignore[operator]
    with torch.no_grad():
        outputs: Tensor = item.module(task.query.inputs)
    return outputs


def test_memory_equals_numpy() -> None:
    generator = np.random.default_rng(0)
    f, k, y = generator.normal(size=(3, 4)), generator.normal(size=(5, 4)), np.array([0, 1, 1, 0, 2])
    expected = np.zeros((3, 3))
    for i in range(3):
        for j in range(5):
            expected[i, y[j]] += 1.5 * np.exp(-2.0 * (1 - f[i] @ k[j]))
    labels = torch.eye(3, dtype=torch.float64)[torch.from_numpy(y)]
    found = memory_logits(torch.from_numpy(f), torch.from_numpy(k), labels=labels, alpha=1.5, beta=2.0)
    np.testing.assert_allclose(found.numpy(), expected)


def test_steps_equal_torchs_adam_on_the_keys(experiment: Make, tiny_clip: Path, pictures: list[str]) -> None:
    made, task = made_on(experiment, tiny_clip, pictures, "strategy=tip_adapter", "strategy.lr=0.05")
    strategy, support = made.strategy, task.support
    assert isinstance(strategy, TipAdapter) and support.names is not None
    encoder = strategy.network.encoder
    with torch.no_grad():
        names, features, query = (
            F.normalize(encoder(x)) for x in (support.names, support.inputs, task.query.inputs)
        )
    keys = features.clone().requires_grad_()
    optimizer = torch.optim.Adam([keys], 0.05)

    def logits(x: Tensor) -> Tensor:
        return torch.exp(-5.5 * (1 - x @ keys.T)) @ F.one_hot(support.targets).double() + x @ names.T / 0.01

    for step in range(4):
        expected = logits(query).detach()
        torch.testing.assert_close(said(strategy, support, task, step), expected, atol=1e-6, rtol=1e-6)
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits(features), support.targets))
        optimizer.step()


def test_without_labels_the_names_decide_as_in_name_centroid(
    experiment: Make, tiny_clip: Path, pictures: list[str]
) -> None:
    made, task = made_on(experiment, tiny_clip, pictures, "strategy=tip_adapter")
    centroid, _ = made_on(
        experiment, tiny_clip, pictures, "strategy=name_centroid", "strategy.temperature=0.01"
    )
    assert not made.strategy.learns_from_source and made.strategy.refusal(made.source) is None
    shape = replace(made.source.shape, k_shot=0)
    assert made.strategy.refusal(made.source.with_shape(shape)) is None  # k = 0 is served by names
    inputs = task.support.inputs
    assert isinstance(inputs, Tensor)
    unlabelled = replace(task.support, inputs=inputs[:0], targets=task.support.targets[:0])
    assert len(list(made.strategy.adapt(unlabelled))) == 1
    found, theirs = (said(one.strategy, unlabelled, task) for one in (made, centroid))
    torch.testing.assert_close(found.softmax(1), theirs.softmax(1))


def test_names_and_memory_each_count(experiment: Make, tiny_clip: Path, pictures: list[str]) -> None:
    made, task = made_on(experiment, tiny_clip, pictures, "strategy=tip_adapter")
    strategy, support = made.strategy, task.support
    both, memory = (said(strategy, s, task) for s in (support, replace(support, names=None)))
    assert not torch.allclose(both, memory) and (memory > 0).all()
    swapped = strategy.ablations(support, support)
    assert set(swapped) == {"names of another class", "names off"}
    with torch.no_grad():
        off = next(iter(swapped["names off"])).module(task.query.inputs)
    torch.testing.assert_close(off, memory)


@pytest.mark.parametrize("name", ["logistic", "linear_probe", "nearest_centroid"])
def test_other_heads_serve_over_clip(
    experiment: Make, tiny_clip: Path, pictures: list[str], name: str
) -> None:
    made, task = made_on(experiment, tiny_clip, pictures, f"strategy={name}")
    assert said(made.strategy, task.support, task, 1).shape == (6, 2)
