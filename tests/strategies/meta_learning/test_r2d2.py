"""Ridge regression against numpy's normal equations, its gradients against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.embedding import task_scores
from coldstart_cli.strategies.meta_learning.r2d2 import R2D2, outputs_by_ridge, ridge
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]


def solved(x: np.ndarray, y: np.ndarray, regularisation: float) -> np.ndarray:
    """Least squares on the data with sqrt(n lambda) I stacked below: the same minimum."""
    root = math.sqrt(len(x) * regularisation) * np.eye(x.shape[1])
    stacked, zeros = np.concatenate([x, root]), np.zeros((x.shape[1], y.shape[1]))
    solution: np.ndarray = np.linalg.lstsq(stacked, np.concatenate([y, zeros]), rcond=None)[0]
    return solution


@pytest.mark.parametrize("n", [3, 6, 20])  # fewer examples than features, as many, more
def test_ridge_equals_least_squares_on_augmented_data(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    y = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    found = ridge(x, y, torch.tensor(0.3, dtype=torch.float64))
    assert found.numpy() == pytest.approx(solved(x.numpy(), y.numpy(), 0.3))


@pytest.mark.parametrize("n", [3, 9])
def test_ridge_is_differentiable_and_lifted_by_vmap(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, n, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, n, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    regularisation = torch.tensor([0.1, 0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(torch.func.vmap(ridge), (x, y, regularisation))


@pytest.mark.parametrize("overrides", [(), ("dataset=sinusoid", "model=mlp", "model.hidden=[8]")])
def test_outputs_and_loss_equal_numpy(experiment: Make, overrides: tuple[str, ...]) -> None:
    made = experiment("strategy=r2d2", "dataset.k_shot=5", "strategy.init_lambda=0.2", *overrides)
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, R2D2)
    with torch.no_grad():
        strategy.scale.fill_(3.0)
        strategy.bias.fill_(0.5)
    task = made.source.tasks("train", [0])[0]
    support, query = (
        replace(e, targets=e.targets.double() if e.targets.is_floating_point() else e.targets)
        for e in (task.support, task.query)
    )
    with torch.no_grad():
        x, q = (_features(strategy, examples.inputs) for examples in (support, query))
        outputs = next(strategy.adapt(support)).module(query.inputs)  # type: ignore[arg-type]
    if overrides:
        expected = q @ solved(x, support.targets.numpy(), 0.2)
    else:
        expected = 3 * q @ solved(x, np.eye(3)[support.targets.numpy()], 0.2) + 0.5
    assert outputs.numpy() == pytest.approx(expected, abs=1e-5)  # lambda is learned in fp32 first
    scores = task_scores(
        strategy.encoder, outputs_by_ridge, same, dict(strategy.named_parameters()), made.source.objective,
        support, query,
    )  # fmt: skip
    loss = made.source.objective.loss(torch.from_numpy(expected), query.targets)
    assert float(scores["loss"].detach()) == pytest.approx(float(loss), abs=1e-5)


def _features(strategy: R2D2, inputs: object) -> np.ndarray:
    features: Tensor = strategy.encoder(inputs)
    return np.concatenate([features.numpy(), np.ones((len(features), 1))], 1)


def test_lambda_scale_and_bias_are_learned(experiment: Make) -> None:
    made = experiment("strategy=r2d2")
    strategy = made.strategy.train()
    assert isinstance(strategy, R2D2)
    before = [p.detach().clone() for p in (strategy.log_lambda, strategy.scale, strategy.bias)]
    next(strategy.fit(made.source))
    after = [strategy.log_lambda, strategy.scale, strategy.bias]
    assert [torch.equal(one, two) for one, two in zip(before, after, strict=True)][:2] == [False, False]


def test_any_number_of_ways_is_served(experiment: Make) -> None:
    experiment("strategy=r2d2", "evaluation.n_way=7")


def test_without_a_source_it_is_ridge_regression_with_the_values_given(experiment: Make) -> None:
    made = experiment("strategy=r2d2", "strategy.source_training=false", "strategy.init_lambda=0.5")
    assert not made.strategy.learns_from_source
    assert list(made.strategy.fit(made.source)) == []
    torch.testing.assert_close(made.strategy.log_lambda.exp(), torch.tensor(0.5))  # type: ignore[operator]
