"""Tip-Adapter against numpy and torch's optimizer; over a small CLIP, zero-shot as name_centroid."""

from __future__ import annotations

import itertools
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
from coldstart_cli.errors import RequestError
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
    assert made.strategy.refusal(made.source) is None
    shape = replace(made.source.shape, k_shot=0)
    assert made.strategy.refusal(made.source.with_shape(shape)) is None  # k = 0 is served by names
    inputs = task.support.inputs
    assert isinstance(inputs, Tensor)
    unlabelled = replace(task.support, inputs=inputs[:0], targets=task.support.targets[:0])
    assert len(list(made.strategy.adapt(unlabelled))) == 1
    found, theirs = (said(one.strategy, unlabelled, task) for one in (made, centroid))
    torch.testing.assert_close(found.softmax(1), theirs.softmax(1))


def test_the_pair_that_does_best_on_source_tasks_is_taken(
    experiment: Make, tiny_clip: Path, pictures: list[str]
) -> None:
    alphas, betas = [1.0, 40.0, 0.2], [5.5, 0.5]
    made, task = made_on(
        experiment, tiny_clip, pictures, "strategy=tip_adapter", f"strategy.search.alpha={alphas}",
        f"strategy.search.beta={betas}", "strategy.temperature=0.3",
    )  # fmt: skip
    strategy = made.strategy
    assert isinstance(strategy, TipAdapter) and strategy.learns_from_source
    expected = np.zeros((3, 2))
    for source in made.source.tasks("train", range(5)):
        assert source.support.names is not None
        with torch.no_grad():
            keys, query, names = (
                F.normalize(strategy.network.encoder(x)).numpy()
                for x in (source.support.inputs, source.query.inputs, source.support.names)
            )
        one_hot = np.eye(2)[source.support.targets.numpy()]
        for (i, alpha), (j, beta) in itertools.product(enumerate(alphas), enumerate(betas)):
            logits = alpha * np.exp(-beta * (1 - query @ keys.T)) @ one_hot + query @ names.T / 0.3
            expected[i, j] += (logits.argmax(1) == source.query.targets.numpy()).mean()
    assert len(np.unique(expected)) > 1  # the pairs differ, or the choice would show nothing
    steps = list(islice(strategy.fit(made.source), 5))  # one a task
    np.testing.assert_allclose(strategy.accuracies.numpy().reshape(3, 2), expected)
    best = np.unravel_index(expected.argmax(), expected.shape)  # numpy's argmax is the first
    assert steps[-1] == {"alpha": alphas[best[0]], "beta": betas[best[1]]}
    predictor = next(strategy.adapt(task.support)).module
    torch.testing.assert_close(torch.stack([predictor.alpha, predictor.beta]).tolist(), [*steps[-1].values()])
    before = strategy.accuracies.clone()
    strategy.accuracies.zero_()
    first = next(strategy.fit(made.source))
    resumed = list(islice(strategy.fit(made.source, start=1), 4))  # as after a stop: the rest of the same sum
    assert set(first) == {"alpha", "beta"} and resumed[-1] == steps[-1]
    torch.testing.assert_close(strategy.accuracies, before, rtol=0, atol=0)


def test_a_source_classifier_comes_before_the_search(
    experiment: Make, tiny_clip: Path, pictures: list[str]
) -> None:
    made, _ = made_on(
        experiment, tiny_clip, pictures, "strategy=tip_adapter", "strategy.source_training=true",
        "strategy.search_share=0.4", "training.steps=5",
    )  # fmt: skip
    assert made.strategy.preparing_steps == 3
    metrics = list(islice(made.strategy.fit(made.source), 5))
    assert ["loss" in m for m in metrics] == [True] * 3 + [False] * 2


def test_half_a_grid_is_refused(experiment: Make, tiny_clip: Path, pictures: list[str]) -> None:
    with pytest.raises(RequestError, match="search: it needs values of alpha and values of beta"):
        made_on(experiment, tiny_clip, pictures, "strategy=tip_adapter", "~strategy.search.beta")


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
