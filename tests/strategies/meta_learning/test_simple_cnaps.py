"""Gold tests: Gaussians and distances against numpy, class by class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.embedding import task_scores
from coldstart_cli.strategies.meta_learning.simple_cnaps import SimpleCNAPs, gaussians, logits_by_mahalanobis
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]
Array = np.ndarray


def logits_by_hand(support: Array, labels: Array, query: Array, beta: float) -> Array:
    """Equations 2 to 4, one query and one class after another."""
    found = np.zeros((len(query), labels.max() + 1))
    of_task = np.cov(support.T)
    for k in range(found.shape[1]):
        mine = support[labels == k]
        share = len(mine) / (len(mine) + 1)
        of_class = np.cov(mine.T) if len(mine) > 1 else np.zeros_like(of_task)
        q = share * of_class + (1 - share) * of_task + beta * np.eye(len(of_task))
        for i, x in enumerate(query):
            apart = x - mine.mean(0)
            found[i, k] = -0.5 * apart @ np.linalg.solve(q, apart)
    return found


@pytest.mark.parametrize("k_shot", [1, 3])
def test_loss_and_predictions_equal_numpy(experiment: Make, k_shot: int) -> None:
    made = experiment("strategy=simple_cnaps", f"dataset.k_shot={k_shot}", "strategy.beta=0.3")
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, SimpleCNAPs)
    task = made.source.tasks("train", [0])[0]
    scores = task_scores(
        strategy.encoder,
        partial(logits_by_mahalanobis, beta=0.3),
        same,
        dict(strategy.named_parameters()),
        task.support.objective,
        task.support,
        task.query,
    )
    with torch.no_grad():
        support, query = (strategy.encoder(e.inputs).numpy() for e in (task.support, task.query))
        outputs = next(strategy.adapt(task.support)).module(task.query.inputs)
    logits = logits_by_hand(support, task.support.targets.numpy(), query, 0.3)
    logs, targets = logits - np.log(np.exp(logits).sum(1, keepdims=True)), task.query.targets.numpy()
    assert outputs.numpy() == pytest.approx(logits, rel=1e-5)
    assert scores["loss"].item() == pytest.approx(-logs[np.arange(len(targets)), targets].mean())


def test_classes_of_different_sizes_have_shares_of_their_own() -> None:
    features = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    means, precisions = gaussians(features, targets, 3, 1.0)
    x = features.numpy()
    q = 0.8 * np.cov(x[:4].T) + 0.2 * np.cov(x.T) + np.eye(3)
    assert precisions[0].numpy() == pytest.approx(np.linalg.inv(q))
    assert precisions[2].numpy() == pytest.approx(np.linalg.inv(0.5 * np.cov(x.T) + np.eye(3)))
    assert means[2].numpy() == pytest.approx(x[6])


def test_fewer_examples_than_dimensions_give_the_same_inverse() -> None:
    generator = torch.Generator().manual_seed(0)
    features, targets = torch.randn(6, 40, generator=generator, dtype=torch.float64), torch.arange(6) % 2
    _, precisions = gaussians(features, targets, 2, 0.3)
    x = features.numpy()
    q = 0.75 * np.cov(x[1::2].T) + 0.25 * np.cov(x.T) + 0.3 * np.eye(40)
    assert precisions[1].numpy() == pytest.approx(np.linalg.inv(q), abs=1e-9)


def test_one_example_in_all_leaves_the_euclidean_distance() -> None:
    _, precisions = gaussians(torch.ones(1, 2), torch.tensor([0]), 1, 0.5)
    assert precisions.tolist() == [[[2.0, 0.0], [0.0, 2.0]]]
