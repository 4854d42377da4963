"""Statistics of a set of labelled and unlabelled examples, and its covariance head, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Support, Task
from coldstart_cli.strategies.building_blocks.set_statistics import (
    LEFT_OUT,
    UNLABELLED,
    by_hand,
    covariance_head,
    logs,
    prepared,
    scaled,
    set_statistics,
    with_unlabelled,
)


def examples(k: int, d: int, n_free: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(k)
    features = torch.randn(3 * k + n_free, d, generator=generator).double() * torch.arange(1, d + 1)
    return features, torch.cat([torch.arange(3).repeat(k), torch.full((n_free,), UNLABELLED)])


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("n_free", [0, 7])
def test_set_statistics_equal_numpy(k: int, n_free: int) -> None:
    features, targets = examples(k, 5, n_free)
    found, x, y = set_statistics(features, targets, 3), features.numpy(), targets.numpy()
    classes = [x[y == c] for c in range(3)]
    within = sum(((of - of.mean(0)) ** 2).sum(0) for of in classes) / max(3 * k - 3, 1)
    np.testing.assert_allclose(found.within, within, atol=1e-12)
    np.testing.assert_allclose(found.between, np.stack([of.mean(0) for of in classes]).var(0, ddof=1))
    np.testing.assert_allclose(found.total, x[y >= 0].var(0, ddof=1))
    np.testing.assert_allclose(found.unlabelled, x[y < 0].var(0, ddof=1) if n_free else np.zeros(5))
    assert float(found.shots) == k
    assert (found.centred[3 * k :] == 0).all()


def test_logs_say_nothing_of_variances_that_are_not_known() -> None:
    features, targets = examples(1, 5, 0)
    read = logs(set_statistics(features, targets, 3))
    assert (read[0] == 0).all() and (read[3] == 0).all() and (read[4] == 0).all()
    assert (read[1:3] != 0).all()


@pytest.mark.parametrize("k", [1, 2, 9])
@pytest.mark.parametrize("d", [3, 40])
def test_covariance_head_is_discriminant_analysis(k: int, d: int) -> None:
    features, targets = examples(k, d, 2)
    found, x, y = set_statistics(features, targets, 3), features.numpy(), targets.numpy()
    means = np.stack([x[y == c].mean(0) for c in range(3)])
    covariance = 0.5 * np.eye(d)
    for one, c in zip(x[y >= 0], y[y >= 0], strict=True):
        covariance += np.outer(one - means[c], one - means[c]) / max(3 * k - 3, 1)
    query = np.random.default_rng(0).normal(size=(6, d)) + 3
    expected = np.array([[-(q - m) @ np.linalg.inv(covariance) @ (q - m) for m in means] for q in query])
    weight, bias = covariance_head(found.means, found, torch.tensor(0.5).double())
    outputs = torch.from_numpy(query) @ weight.T + bias
    torch.testing.assert_close(outputs.log_softmax(1), torch.from_numpy(expected).log_softmax(1))


def test_scaled_statistics_are_those_of_scaled_features() -> None:
    features, targets = examples(3, 4, 5)
    scales = torch.tensor([0.1, 1.0, 2.0, 30.0]).double()
    ours, theirs = (
        scaled(set_statistics(features, targets, 3), scales),
        set_statistics(features * scales, targets, 3),
    )
    for name in ("means", "centred", "within", "between", "total", "unlabelled", "shots"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))


def test_by_hand_makes_every_feature_as_sure_as_the_others() -> None:
    features, targets = examples(40, 4, 0)
    found = set_statistics(features, targets, 3)
    torch.testing.assert_close(
        scaled(found, by_hand(found)).within, torch.ones(4).double(), atol=1e-3, rtol=0
    )


def test_with_unlabelled_joins_both_kinds() -> None:
    inputs = torch.arange(4.0).view(4, 1)
    support = Support(inputs[:2], torch.tensor([0, 1]), Classification(2), 0, inputs[2:])
    joint = with_unlabelled(support)
    assert joint.targets.tolist() == [0, 1, UNLABELLED, UNLABELLED]
    assert joint.unlabelled is None and torch.equal(joint.inputs, inputs)  # type: ignore[arg-type]
    assert with_unlabelled(joint) is joint


@pytest.mark.parametrize(("fewest", "expected"), [(1, {1, 2, 3}), (2, {2, 3}), (9, {3}), (None, {3})])
def test_prepared_tasks_have_fewest_to_k_labels_a_class_and_one_shape(
    fewest: int | None, expected: set[int]
) -> None:
    targets = torch.tensor([0, 0, 0, 1, 1, 1])
    counts = set()
    for seed in range(40):
        support = Support(torch.zeros(6, 2), targets, Classification(2), seed, torch.ones(2, 2))
        task = Task(support, Examples(torch.zeros(2, 2), torch.tensor([0, 1])), "t")
        found = prepared(task, fewest_shots=fewest).support
        assert found.targets[6:].tolist() == [UNLABELLED] * 2 and len(found.inputs) == 8
        kept = found.targets[:6]
        n = int((kept == 0).sum())
        assert kept.tolist() == [*([0] * n + [LEFT_OUT] * (3 - n)), *([1] * n + [LEFT_OUT] * (3 - n))]
        counts.add(n)
    assert counts == expected


def test_examples_left_out_are_as_if_they_were_not_there() -> None:
    features, targets = examples(4, 5, 3)
    fewer = targets.clone()
    fewer[:3] = LEFT_OUT  # the first of each class
    ours, theirs = set_statistics(features, fewer, 3), set_statistics(features[3:], targets[3:], 3)
    for name in ("means", "within", "between", "total", "unlabelled", "shots", "freedom"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
