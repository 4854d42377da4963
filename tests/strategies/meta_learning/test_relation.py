"""Relations and their loss against values worked by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.meta_learning.relation import RelationNetwork
from coldstart_cli.training.meta_batch import same


def normalised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def test_loss_and_outputs_equal_numpy(experiment: Callable[..., Experiment]) -> None:
    made = experiment("strategy=relation", "dataset.k_shot=2")
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, RelationNetwork)
    task = made.source.tasks("train", [0])[0]
    scores = strategy._task_loss(
        same, dict(strategy.named_parameters()), task.support.objective, task.support, task.query
    )
    with torch.no_grad():
        support, query = (strategy.encoder(s.inputs).numpy() for s in (task.support, task.query))
        outputs = next(strategy.adapt(task.support)).module(task.query.inputs).numpy()
    w1, b1, w2, b2 = (p.detach().numpy() for p in strategy.relation.parameters())
    labels, expected = task.support.targets.numpy(), np.zeros((len(query), 3))
    for i, x in enumerate(query):
        for c in range(3):
            pair = np.concatenate([normalised(support[labels == c].mean(0)), normalised(x)])
            expected[i, c] = (w2 @ np.maximum(w1 @ pair + b1, 0) + b2)[0]
    assert outputs == pytest.approx(expected)
    relations = 1 / (1 + np.exp(-expected))
    errors = ((relations - np.eye(3)[task.query.targets.numpy()]) ** 2).sum(1)
    assert float(scores["loss"].detach()) == pytest.approx(errors.mean())
