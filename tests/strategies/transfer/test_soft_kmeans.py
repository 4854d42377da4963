"""Soft k-means against numpy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.transfer.soft_kmeans import SoftKMeans


def test_rounds_equal_numpy(experiment: Callable[..., Experiment]) -> None:
    words = ("dataset.k_shot=2", "dataset.n_unlabelled=3", "training.steps=2")
    made = experiment("strategy=soft_kmeans", *words)
    strategy = made.strategy.double()
    assert isinstance(strategy, SoftKMeans)
    list(islice(strategy.fit(made.source), 2))
    strategy.eval()
    task = made.source.tasks("new", [0])[0]
    support, n_way = task.support, task.support.objective.n_outputs
    assert support.unlabelled is not None
    with torch.no_grad():
        read = [
            strategy.network.encoder(inputs).numpy() - strategy.source_mean.numpy()
            for inputs in (support.inputs, support.unlabelled, task.query.inputs)
        ]
    f, x, q = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in read)
    total = np.stack([f[support.targets.numpy() == c].sum(0) for c in range(n_way)])
    moved, prior = total, np.full(n_way, 1 / n_way)
    for adapted in islice(strategy.adapt(support), 4):
        u = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        with torch.no_grad():
            np.testing.assert_allclose(adapted.module(task.query.inputs), 10 * q @ u.T, rtol=1e-7)
        r = prior * np.exp(10 * x @ u.T)
        r = r / r.sum(1, keepdims=True)
        distance = 1 - (r * (x @ u.T)).sum(1).mean()
        np.testing.assert_allclose(adapted.notes["distance"], distance, rtol=1e-7)
        prior = (1 + r.sum(0)) / (n_way + len(x))
        moved = total + r.T @ x
