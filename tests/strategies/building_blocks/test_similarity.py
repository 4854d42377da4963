"""Similarities against independent arithmetic: by hand, by numpy, by direct maximisation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from coldstart_cli.core.tasks import Examples
from coldstart_cli.strategies.building_blocks.similarity import (
    cycled,
    h_score,
    leep,
    logme,
    mixture_posteriors,
    n_leep,
    sampled_labels,
    task2vec,
    task_embedding,
)

Array = NDArray[np.float64]


def test_leep_by_hand() -> None:
    # P(y, z): y = 0: (.4, .1), y = 1: (.1, .4); P(z) = (.5, .5); P(y | z) = .8 where y = z, else .2
    p = torch.tensor([[0.8, 0.2], [0.2, 0.8]])
    assert leep(p, torch.tensor([0, 1]), 2) == pytest.approx(math.log(0.8 * 0.8 + 0.2 * 0.2))
    # a source that tells the examples apart perfectly predicts every label, one that cannot guesses
    assert leep(torch.eye(3), torch.tensor([0, 1, 2]), 3) == pytest.approx(0.0)
    assert leep(torch.full((4, 5), 0.2), torch.tensor([0, 1, 0, 1]), 2) == pytest.approx(math.log(0.5))


def test_leep_equals_the_sums_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    p, targets = rng.dirichlet(np.ones(6), size=10), rng.integers(0, 3, size=10)
    total = 0.0
    for x, y in zip(p, targets, strict=True):
        likelihood = 0.0
        for z in range(6):
            joint = sum(p[i, z] for i in range(10) if targets[i] == y) / 10
            likelihood += joint / (sum(p[:, z]) / 10) * x[z]
        total += math.log(likelihood)
    assert leep(torch.tensor(p), torch.tensor(targets), 3) == pytest.approx(total / 10)


def test_mixture_equals_expectation_maximisation_written_out() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(m, s, (12, 2)) for m, s in ((0, 1.0), (4, 0.5), ((-3, 3), 0.7))])
    start = rng.dirichlet(np.ones(3), size=len(x))
    members, before = start, -np.inf
    for _ in range(100):
        densities = np.zeros_like(members)
        for k in range(3):
            w = members[:, k]
            mean = sum(w[i] * x[i] for i in range(len(x))) / w.sum()
            cov = sum(w[i] * np.outer(x[i] - mean, x[i] - mean) for i in range(len(x))) / w.sum()
            normal = multivariate_normal(mean, cov + 1e-6 * np.eye(2))
            densities[:, k] = w.sum() / len(x) * normal.pdf(x)
        members = densities / densities.sum(1, keepdims=True)
        gained, before = np.log(densities.sum(1)).mean() - before, np.log(densities.sum(1)).mean()
        if abs(gained) < 1e-3:
            break
    found = mixture_posteriors(torch.tensor(x), torch.tensor(start))
    np.testing.assert_allclose(found.numpy(), members, atol=1e-8)


def test_n_leep_finds_classes_in_clusters_and_says_nothing_of_one_example_each() -> None:
    rng = np.random.default_rng(0)
    targets = torch.arange(3).repeat(8)
    centres = 10 * torch.eye(3, 16, dtype=torch.float64)
    apart = centres[targets] + torch.tensor(rng.normal(size=(24, 16)))
    noise = torch.tensor(rng.normal(size=(24, 16)))
    assert n_leep(apart, targets, 3, 1) == pytest.approx(0.0, abs=1e-3)
    assert math.log(1 / 3) < n_leep(noise, targets, 3, 1) < -0.4
    assert n_leep(noise[:3], targets[:3], 3, 1) == pytest.approx(0.0, abs=1e-6)
    assert math.isfinite(n_leep(torch.zeros(6, 4), targets[:6], 3, 5))  # equal examples


def test_h_score_equals_its_definition_and_bao_s_is_a_constant_at_few_shots() -> None:
    rng = np.random.default_rng(1)
    n, d, targets = 20, 30, np.arange(20) % 4
    f = rng.normal(size=(n, d)) + 2 * np.eye(4, d)[targets]
    centred = f - f.mean(0)
    means = np.stack([centred[targets == targets[i]].mean(0) for i in range(n)])
    cov, between = np.cov(f.T, bias=True), np.cov(means.T, bias=True)
    # Ledoit and Wolf 2004, lemma 3.2 to 3.4, sum by sum.
    mu = np.trace(cov) / d
    distance = np.sum((cov - mu * np.eye(d)) ** 2) / d
    error = sum(np.sum((np.outer(row, row) - cov) ** 2) for row in centred) / d / n**2
    a = min(error, distance) / distance
    shrunken = (1 - a) * cov + a * mu * np.eye(d)
    expected = (1 - a) * np.trace(np.linalg.inv(shrunken) @ between)
    assert 0 < a < 1
    assert h_score(torch.tensor(f), torch.tensor(targets), 4) == pytest.approx(expected)
    assert np.trace(np.linalg.pinv(cov) @ between) == pytest.approx(3.0)  # unshrunken: n_way - 1, whatever f
    assert h_score(torch.zeros(4, 3), torch.arange(4), 4) == 0.0


def log_evidence(features: Array, y: Array, alpha: float, beta: float) -> float:
    """log N(y; 0, F F' / alpha + 1 / beta): the weights integrated out by hand."""
    covariance = features @ features.T / alpha + np.eye(len(y)) / beta
    return float(multivariate_normal.logpdf(y, np.zeros(len(y)), covariance))


@pytest.mark.parametrize(("n", "d"), [(40, 6), (30, 12)])
def test_logme_equals_direct_maximisation_of_the_evidence(n: int, d: int) -> None:
    rng = np.random.default_rng(n)
    features = rng.normal(size=(n, d))
    columns = features @ rng.normal(size=(d, 2)) + rng.normal(size=(n, 2))
    found = [
        -minimize(
            lambda logs, y=y: -log_evidence(features, y, *np.exp(logs)), np.zeros(2), method="Nelder-Mead"
        ).fun
        / n
        for y in columns.T
    ]
    assert logme(torch.tensor(features), torch.tensor(columns)) == pytest.approx(np.mean(found), abs=1e-4)


def test_logme_follows_the_fixed_point_in_numpy() -> None:
    rng = np.random.default_rng(3)
    features, y = rng.normal(size=(12, 4)), np.repeat([1.0, 0.0], 6)
    alpha, beta = 1.0, 1.0
    for _ in range(500):
        a = alpha * np.eye(4) + beta * features.T @ features
        m = beta * np.linalg.solve(a, features.T @ y)
        gamma = sum(beta * s / (alpha + beta * s) for s in np.linalg.eigvalsh(features.T @ features))
        alpha, beta = gamma / (m @ m + 1e-5), (12 - gamma) / (np.sum((features @ m - y) ** 2) + 1e-5)
    expected = log_evidence(features, y, alpha, beta) / 12
    assert logme(torch.tensor(features), torch.tensor(y)[:, None]) == pytest.approx(expected, abs=1e-6)


def test_logme_of_fewer_examples_than_features_is_finite_and_ranks() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.eye(5, dtype=torch.float64)
    noise = torch.randn(5, 20, generator=generator, dtype=torch.float64)
    telling = torch.cat([5 * targets, 0.1 * noise], 1)
    same = noise[:1].expand(5, -1)  # five inputs that look alike
    assert math.isfinite(logme(telling, targets))
    assert logme(telling, targets) > logme(same, targets)


def test_task_embedding_of_logistic_regression_equals_its_fisher_information() -> None:
    # d log p(y | x) / d w_c = ([y = c] - p_c) x; for one label an example, its square, averaged over a row
    rng = np.random.default_rng(1)
    w, x, labels = rng.normal(size=(3, 4)), rng.normal(size=(7, 4)), rng.integers(0, 3, size=7)
    logits = x @ w.T
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gradient = (np.eye(3)[labels] - p)[:, :, None] * x[:, None, :]
    weights = {"w": torch.tensor(w), "b": torch.zeros(3, dtype=torch.float64)}
    found = task_embedding(
        lambda v, inputs: torch.log_softmax(inputs @ v["w"].T + v["b"], -1),  # type: ignore[operator]
        weights,
        torch.tensor(x),
        torch.tensor(labels),
    )
    np.testing.assert_allclose(found.numpy(), (gradient**2).mean(0).mean(1))


def test_sampled_labels_follow_the_prediction() -> None:
    log_p = torch.tensor([0.1, 0.2, 0.7]).log().repeat(4000, 1)
    labels = sampled_labels(log_p, torch.Generator().manual_seed(0))
    shares = torch.bincount(labels, minlength=3) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.2, 0.7]), atol=0.03, rtol=0)


def test_task2vec_by_hand() -> None:
    a, b = torch.tensor([1.0, 3.0, 0.0]), torch.tensor([3.0, 1.0, 0.0])
    # divided by the sum: (1/4, 3/4) and (3/4, 1/4); cos = (3 + 3) / (1 + 9)
    assert task2vec(a, b) == pytest.approx(0.6)
    assert task2vec(a, b) == pytest.approx(task2vec(b, a))
    assert task2vec(a, a) == pytest.approx(1.0)
    assert task2vec(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])) == 0.0


def test_cycled_begins_again() -> None:
    examples = cycled(Examples(torch.tensor([[5.0], [6.0]]), torch.tensor([0, 1])), 5)
    assert examples.targets.tolist() == [0, 1, 0, 1, 0]
