"""Probabilistic linear discriminant analysis against numpy and Gaussian conditioning, written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.alignment.plda import PLDA, diagonalised

Make = Callable[..., Experiment]


def log_gaussian(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    apart = x - mean
    return float(-0.5 * (apart @ np.linalg.solve(covariance, apart) + np.linalg.slogdet(covariance)[1]))


def test_diagonalised_by_hand() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(9, 4)), generator.normal(size=(2, 4))
    within, between = a.T @ a / 9, b.T @ b
    transform, psi = (
        tensor.numpy() for tensor in diagonalised(torch.tensor(within), torch.tensor(between), 10.0, 0.2)
    )
    shrunk = 0.8 * within + 0.2 * np.trace(within) / 4 * np.eye(4)
    np.testing.assert_allclose(transform.T @ shrunk @ transform, np.eye(4), atol=1e-10)
    variances = np.sort(np.linalg.eigvals(np.linalg.solve(shrunk, between)).real)
    np.testing.assert_allclose(np.sort(psi), np.maximum(0, variances - 0.1), atol=1e-10)


def test_adapted_equals_conditioning_of_gaussians(experiment: Make) -> None:
    """log p(x | a class's examples) from the joint Gaussian of all of them, without any diagonalisation."""
    made = experiment("strategy=plda", "strategy.shrinkage=0.3", "training.steps=2", "dataset.k_shot=2")
    strategy = made.strategy.eval().double()
    assert isinstance(strategy, PLDA)
    for _ in strategy.fit(made.source):
        pass
    task = made.source.tasks("new", [0])[0]
    pool = made.source.pool("train")
    examples = pool.examples(torch.arange(len(pool)))
    with torch.no_grad():
        raw, support, query = (
            strategy.network.encoder(x).numpy()
            for x in (examples.inputs, task.support.inputs, task.query.inputs)
        )
        outputs = next(strategy.adapt(task.support)).module(task.query.inputs).numpy()
    labels = examples.targets.numpy()
    classes = np.unique(labels)
    centre = np.mean([raw[labels == c].mean(0) for c in classes], 0)
    raw, support, query = (
        (x - centre) / np.linalg.norm(x - centre, axis=1)[:, None] for x in (raw, support, query)
    )
    means = np.stack([raw[labels == c].mean(0) for c in classes])
    rest = raw - means[np.searchsorted(classes, labels)]
    d, n_each = raw.shape[1], len(raw) / len(classes)
    within = rest.T @ rest / (len(raw) - len(classes))
    within = 0.7 * within + 0.3 * np.trace(within) / d * np.eye(d)
    apart = means - means.mean(0)
    # B, with the negative part of its estimate cut off where W is I.
    root = np.linalg.cholesky(within)
    values, vectors = np.linalg.eigh(
        np.linalg.inv(root) @ (apart.T @ apart / (len(means) - 1)) @ np.linalg.inv(root).T
    )
    back = root @ vectors
    between = back @ np.diag(np.maximum(0, values - 1 / n_each)) @ back.T
    expected = np.zeros((len(query), 3))
    for c in range(3):
        own = support[task.support.targets.numpy() == c] - means.mean(0)
        n = len(own)
        # Examples of one class share B; given n of them, what the next one is.
        joint = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
        cross = np.kron(np.ones((1, n)), between)
        mean = cross @ np.linalg.solve(joint, own.reshape(-1))
        covariance = between + within - cross @ np.linalg.solve(joint, cross.T)
        expected[:, c] = [log_gaussian(x - means.mean(0), mean, covariance) for x in query]
    shared = outputs - expected
    np.testing.assert_allclose(
        shared - shared[:, :1], np.zeros_like(shared), atol=1e-5 * np.abs(expected).max()
    )


def test_last_step_alone_reads_the_covariances(experiment: Make) -> None:
    made = experiment("strategy=plda", "training.steps=3")
    strategy = made.strategy
    assert isinstance(strategy, PLDA)
    steps = strategy.train().fit(made.source)
    for _ in range(2):
        assert "loss" in next(steps)
        assert torch.equal(strategy.psi, torch.ones_like(strategy.psi))
    last = next(steps)
    # One direction less than there are classes at most: the means lie around their own mean.
    assert (
        0
        < last["directions"]
        == float((strategy.psi > 0).sum())
        < made.source.pool("train").objective.n_outputs
    )
    assert next(steps, None) is None
    assert next(iter(strategy.fit(made.source, start=3)), None) is None


def test_nothing_known_of_the_source_leaves_the_nearest_mean(experiment: Make) -> None:
    made = experiment("strategy=plda", "dataset.k_shot=2")
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    with torch.no_grad():
        outputs = next(strategy.adapt(task.support)).module(task.query.inputs)
        support, query = (
            torch.nn.functional.normalize(strategy.network.encoder(x), dim=-1)  # type: ignore[operator, union-attr]
            for x in (task.support.inputs, task.query.inputs)
        )
    means = torch.stack([support[task.support.targets == c].mean(0) for c in range(3)])
    # 2 labels at a variance of 1 between classes are believed by two thirds.
    assert (torch.cdist(query, 2 / 3 * means).argmin(1) == outputs.argmax(1)).all()


def test_classes_of_unequal_size_have_variances_of_their_own(experiment: Make) -> None:
    made = experiment("strategy=plda", "dataset.k_shot=2")
    support = made.source.tasks("new", [0])[0].support
    keep = torch.tensor([i for i in range(len(support)) if i != int((support.targets == 0).nonzero()[0])])
    inputs = support.inputs
    assert isinstance(inputs, torch.Tensor)
    fewer = type(support)(inputs[keep], support.targets[keep], support.objective, support.seed)
    variances = next(made.strategy.adapt(fewer)).changed["variances"]
    assert variances[0, 0] == pytest.approx(1.5) and variances[1, 0] == pytest.approx(4 / 3)
