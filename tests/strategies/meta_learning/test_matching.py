"""Attention over the support set against values worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.embedding import task_scores
from coldstart_cli.strategies.meta_learning.matching import MatchingNetwork, log_attended, logits_by_attention
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]


def attended(query: np.ndarray, support: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """Equation 1, summed up one support example after another."""
    found = np.zeros((len(query), labels.max() + 1))
    for row, x in zip(found, query, strict=True):
        kernel = [np.exp(x @ s / np.linalg.norm(x) / np.linalg.norm(s) / temperature) for s in support]
        for value, label in zip(kernel, labels, strict=True):
            row[label] += value / sum(kernel)
    return found


@pytest.mark.parametrize("learned", ["false", "true"])
def test_loss_and_accuracy_equal_numpy(experiment: Make, learned: str) -> None:
    tempered = ("strategy.temperature=0.2", f"strategy.learn_temperature={learned}")
    made = experiment("strategy=matching", "dataset.k_shot=2", *tempered)
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, MatchingNetwork)
    task = made.source.tasks("train", [0])[0]
    weights = dict(strategy.named_parameters())
    scores = task_scores(
        strategy.encoder,
        partial(logits_by_attention, temperature=0.2),
        same,
        weights,
        task.support.objective,
        task.support,
        task.query,
    )
    with torch.no_grad():
        support = strategy.encoder(task.support.inputs).numpy()
        query = strategy.encoder(task.query.inputs).numpy()
        outputs = next(strategy.adapt(task.support)).module(task.query.inputs)
    probabilities = attended(query, support, task.support.targets.numpy(), 0.2)
    targets = task.query.targets.numpy()
    chosen = probabilities[np.arange(len(targets)), targets]
    assert float(scores["loss"].detach()) == pytest.approx(-np.log(chosen).mean())
    assert float(scores["accuracy"]) == pytest.approx((probabilities.argmax(1) == targets).mean())
    assert outputs.exp().numpy() == pytest.approx(probabilities, rel=1e-5)


def test_logarithm_is_finite_for_opposite_features_and_absent_classes() -> None:
    query = torch.tensor([[1e3, 0.0], [0.0, 0.0]], requires_grad=True)
    features = torch.tensor([[1e3, 0.0], [-1e3, 0.0]])
    labels = torch.tensor([[1, 0, 0], [0, 1, 0]])
    logs = log_attended(query, features, labels, 1.0)
    assert torch.isfinite(logs).all()
    torch.testing.assert_close(logs[0, 0] - logs[0, 1], torch.tensor(2.0))
    assert (logs[:, 2] < -80).all()
    logs[:, 1].sum().backward()
    assert query.grad is not None and torch.isfinite(query.grad).all()


def test_example_that_is_most_wrong_keeps_its_gradient_at_a_low_temperature() -> None:
    query = torch.tensor([[1.0, 0.1]], requires_grad=True)
    logs = log_attended(query, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.eye(2), 0.01)
    torch.testing.assert_close(logs[0, 1], torch.tensor(-200 / 1.01**0.5), rtol=1e-3, atol=0.0)
    logs[0, 1].backward()  # type: ignore[no-untyped-call]
    assert query.grad is not None and query.grad.abs().max() > 1


def test_attention_keeps_full_precision_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    query, features = (torch.randn(4, 8, generator=generator) for _ in range(2))
    labels = torch.eye(4)
    expected = log_attended(query, features, labels, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(log_attended(query, features, labels, 0.1), expected)


def test_any_number_of_ways_is_served(experiment: Make) -> None:
    experiment("strategy=matching", "evaluation.n_way=7")
