"""Classifiers on frozen features against numpy, scipy and, where it is installed, scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.logistic_regression import logistic_regression
from coldstart_cli.strategies.transfer.frozen_features import Logistic, NearestCentroid
from coldstart_cli.training.cross_validation import dealt
from coldstart_cli.training.inner_loop import canonical_order
from coldstart_cli.training.randomness import step_seed

Make = Callable[..., Experiment]
Array = NDArray[np.float64]


@pytest.mark.parametrize("normalise", ["true", "false"])
def test_logistic_solves_on_the_features_it_predicts_from(experiment: Make, normalise: str) -> None:
    made = experiment(
        "strategy=logistic", "dataset.k_shot=2", f"strategy.normalise={normalise}", "strategy.C=3"
    )
    strategy, task = made.strategy.double().eval(), made.source.tasks("new", [0])[0]
    assert isinstance(strategy, Logistic)
    (item,) = strategy.adapt(task.support)
    with torch.no_grad():
        support, query = (strategy.network.encoder(e.inputs) for e in (task.support, task.query))
        if normalise == "true":
            support, query = (f / f.norm(dim=1, keepdim=True) for f in (support, query))
        weight, bias = logistic_regression(support, task.support.targets, 3, 3.0)
        torch.testing.assert_close(item.module(task.query.inputs), query @ weight.T + bias)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("normalise", [True, False])
def test_nearest_centroid_equals_numpy(
    experiment: Make, distance: str, centre: bool, normalise: bool
) -> None:
    options = [f"strategy.{n}={v}" for n, v in [("centre", centre), ("normalise", normalise)]]
    options += [f"strategy.distance={distance}", "strategy.temperature=0.5"]
    made = experiment("strategy=nearest_centroid", "dataset.k_shot=2", *options)
    strategy, task = made.strategy.double().eval(), made.source.tasks("new", [0])[0]
    assert isinstance(strategy, NearestCentroid)
    strategy.source_mean.copy_(torch.linspace(0, 0.2, 8))
    (item,) = strategy.adapt(task.support)
    with torch.no_grad():
        support, query = (strategy.network.encoder(e.inputs).numpy() for e in (task.support, task.query))
        found = item.module(task.query.inputs).numpy()
    if centre:
        support, query = (f - np.linspace(0, 0.2, 8) for f in (support, query))
    if normalise:
        support, query = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (support, query))
    means = np.stack([support[task.support.targets.numpy() == c].mean(0) for c in range(3)])
    if distance == "euclidean":
        expected = -((query[:, None] - means) ** 2).sum(-1)
    else:
        lengths = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(means, axis=1)
        expected = query @ means.T / lengths - 1
    np.testing.assert_allclose(found, expected / 0.5, atol=1e-6)


def test_nearest_centroid_keeps_a_running_mean_of_the_sources_features(experiment: Make) -> None:
    made = experiment("strategy=nearest_centroid", "strategy.batch_size=16")
    strategy, pool = made.strategy.double().train(), made.source.pool("train")
    assert isinstance(strategy, NearestCentroid)
    expected, steps = torch.zeros(8, dtype=torch.float64), strategy.fit(made.source)
    for step in range(2):
        generator = torch.Generator().manual_seed(step_seed(strategy.seed, step))
        batch = pool.examples(torch.randint(len(pool), (16,), generator=generator))
        with torch.no_grad():
            expected = 0.9 * expected + 0.1 * strategy.network.encoder(batch.inputs).mean(0)
        next(islice(steps, 1))
    torch.testing.assert_close(strategy.source_mean, expected)


def test_searched_C_has_the_largest_held_out_likelihood_and_is_noted(experiment: Make) -> None:
    made = experiment("strategy=logistic", "strategy.C_search=[0.1,1,1000]", "dataset.k_shot=4")
    strategy = made.strategy.double().eval()
    support = made.source.tasks("new", [0])[0].support
    (item,) = strategy.adapt(support)
    order = canonical_order(support)
    with torch.no_grad():
        features = F.normalize(strategy.network.encoder(support.inputs), dim=-1)[order]  # type: ignore[union-attr,operator]
    targets, likelihood = support.targets[order], {}
    for C in (0.1, 1, 1000):
        total = 0.0
        for seen, held_out in dealt(targets.numpy(), 5, step_seed(support.seed, 0)):
            weight, bias = logistic_regression(features[seen], targets[seen], 3, C)
            p = (features[held_out] @ weight.T + bias).softmax(-1).numpy()
            total += float(np.log(p[np.arange(len(held_out)), targets[held_out].numpy()]).sum())
        likelihood[C] = total
    assert item.notes == {"C": max(likelihood, key=likelihood.__getitem__)}
    weight, _ = logistic_regression(features, targets, 3, item.notes["C"])
    torch.testing.assert_close(item.changed["head.weight"], weight)


def test_search_of_C_needs_two_labels_of_every_class(experiment: Make) -> None:
    made = experiment("strategy=logistic", "strategy.C_search=[1,100]")
    (item,) = made.strategy.eval().adapt(made.source.tasks("new", [0])[0].support)
    assert item.notes == {"C": 10.0}
