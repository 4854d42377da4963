"""Logistic regression against scipy's and scikit-learn's minimum, and where its gradient is zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor

from coldstart_cli.strategies.building_blocks.logistic_regression import logistic_regression

Array = NDArray[np.float64]


def problem(n: int = 20, width: int = 6, n_classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(n) % n_classes
    features = torch.randn(n, width, generator=generator, dtype=torch.float64)
    return features + torch.eye(n_classes, width, dtype=torch.float64)[targets], targets


def penalised(flat: Array, x: Array, y: NDArray[np.int64], n_classes: int, C: float) -> float:
    """sum CE + |W|^2 / (2 C), in numpy."""
    parameters = flat.reshape(n_classes, x.shape[1] + 1)
    logits = x @ parameters[:, :-1].T + parameters[:, -1]
    fit = (logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).sum()
    return float(fit + (parameters[:, :-1] ** 2).sum() / (2 * C))


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_logistic_regression_equals_scipys_minimum(C: float) -> None:
    features, targets = problem(n=12, width=4)
    weight, bias = logistic_regression(features, targets, 3, C)
    x, y = features.numpy(), targets.numpy()
    theirs = minimize(penalised, np.zeros(3 * 5), (x, y, 3, C), method="BFGS", options={"gtol": 1e-6}).x
    np.testing.assert_allclose(weight.numpy(), theirs.reshape(3, 5)[:, :-1], atol=2e-3, rtol=2e-3)
    ours = penalised(torch.cat([weight, bias[:, None]], 1).numpy().ravel(), x, y, 3, C)
    assert ours <= penalised(theirs, x, y, 3, C) + 1e-6


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_logistic_regression_ends_where_the_gradient_is_zero(C: float) -> None:
    features, targets = problem(n=5, width=40)
    weight, bias = logistic_regression(features, targets, 3, C)
    surplus = torch.softmax(features @ weight.T + bias, 1) - torch.eye(3, dtype=torch.float64)[targets]
    torch.testing.assert_close(surplus.T @ features, -weight / C, rtol=0, atol=1e-5)
    torch.testing.assert_close(surplus.sum(0), torch.zeros_like(bias), rtol=0, atol=1e-5)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_logistic_regression_equals_scikit_learns(C: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    features, targets = problem()
    weight, bias = logistic_regression(features, targets, 3, C)
    theirs = linear_model.LogisticRegression(C=C, tol=1e-8, max_iter=10_000).fit(
        features.numpy(), targets.numpy()
    )
    np.testing.assert_allclose(weight.numpy(), theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(
        (bias - bias.mean()).numpy(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-4
    )


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 12), st.integers(2, 6),
    st.sampled_from([1e-3, 1.0, 1e4]), st.sampled_from([1e-3, 1.0, 300.0]), st.booleans(),
)  # fmt: skip
def test_gradient_is_zero_for_any_sizes_scales_weights_and_absent_classes(
    seed: int, n: int, width: int, n_classes: int, C: float, scale: float, weighted: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = scale * torch.randn(n, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(n_classes, (n,), generator=generator)
    weights = torch.rand(n, generator=generator, dtype=torch.float64) * 3 if weighted else None
    weight, bias = logistic_regression(features, targets, n_classes, C, weights)
    of_each = torch.ones(n, dtype=torch.float64) if weights is None else weights
    surplus = torch.softmax(features @ weight.T + bias, 1)
    surplus = of_each[:, None] * (surplus - torch.eye(n_classes, dtype=torch.float64)[targets])
    size = max(1.0, scale)
    torch.testing.assert_close(surplus.T @ features, -weight / C, rtol=0, atol=1e-5 * size)
    torch.testing.assert_close(surplus.sum(0), torch.zeros_like(bias), rtol=0, atol=1e-5)
    assert bias.mean().abs() < 1e-9 * (1 + bias.abs().max())


def test_features_that_are_not_numbers_end_it() -> None:
    weight, _ = logistic_regression(torch.full((3, 2), torch.nan), torch.arange(3), 3, 1.0)
    assert weight.shape == (3, 2)
