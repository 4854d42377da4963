"""Every distance against numpy arithmetic written out from its paper."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from coldstart_cli.strategies.building_blocks import discrepancy


def drawn(*shape: int, seed: int = 0, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) + shift


def test_coral_equals_the_covariances_of_numpy() -> None:
    source, target = drawn(7, 3), 2 * drawn(5, 3, seed=1, shift=1.0)
    difference = np.cov(source.numpy().T) - np.cov(target.numpy().T)
    expected = np.linalg.norm(difference) ** 2 / (4 * 3**2)
    torch.testing.assert_close(float(discrepancy.coral(source, target)), float(expected))


def test_coral_does_not_see_a_shift_of_the_mean() -> None:
    source = drawn(7, 3)
    assert float(discrepancy.coral(source, source + 5)) < 1e-20


def test_mmd_equals_the_sums_over_pairs() -> None:
    source, target = drawn(4, 3), drawn(3, 3, seed=1, shift=1.0)
    both = [*source.numpy(), *target.numpy()]
    squares = [float(((x - y) ** 2).sum()) for i, x in enumerate(both) for j, y in enumerate(both) if i != j]
    median = sorted(squares)[(len(squares) - 1) // 2]  # torch's median is the lower one

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        distance = ((x - y) ** 2).sum()
        return float(np.mean([np.exp(-distance / (b * median)) for b in (0.5, 2.0)]))

    def mean(xs: Tensor, ys: Tensor) -> float:
        return float(np.mean([kernel(x, y) for x in xs.numpy() for y in ys.numpy()]))

    expected = mean(source, source) + mean(target, target) - 2 * mean(source, target)
    found = float(discrepancy.mmd(source, target, [0.5, 2.0], unbiased=False))
    torch.testing.assert_close(found, expected)

    def others(xs: Tensor) -> float:
        values = xs.numpy()
        return float(
            np.mean([kernel(x, y) for i, x in enumerate(values) for j, y in enumerate(values) if i != j])
        )

    expected = others(source) + others(target) - 2 * mean(source, target)
    torch.testing.assert_close(float(discrepancy.mmd(source, target, [0.5, 2.0], unbiased=True)), expected)


def test_unbiased_mmd_of_one_distribution_is_zero_on_average_at_few_shots() -> None:
    draws = [(drawn(5, 3, seed=2 * i), drawn(3, 3, seed=2 * i + 1)) for i in range(200)]
    means = [
        np.mean([float(discrepancy.mmd(s, t, [1.0], unbiased=unbiased)) for s, t in draws])
        for unbiased in (True, False)
    ]
    assert abs(means[0]) < 0.02
    assert means[1] > 0.2
    alone = drawn(1, 3)  # a domain of one example has no pair: its own stays, and no gradient comes from it
    assert math.isfinite(float(discrepancy.mmd(alone, drawn(4, 3, seed=1), [1.0], unbiased=True)))


def test_mmd_is_zero_for_equal_samples_and_grows_with_the_shift() -> None:
    source = drawn(6, 3)
    values = [
        float(discrepancy.mmd(source, source + shift, [1.0], unbiased=False)) for shift in (0.0, 0.5, 2.0)
    ]
    assert abs(values[0]) < 1e-12
    assert values[0] < values[1] < values[2]


def test_mmd_takes_its_bandwidth_as_a_constant() -> None:
    """Else the gradient of one pair would vanish: |x - y|^2 / median is 1, wherever they lie."""
    source, target = drawn(1, 2).requires_grad_(), drawn(1, 2, seed=1)
    discrepancy.mmd(source, target, [1.0], unbiased=False).backward()  # type: ignore[no-untyped-call]
    assert source.grad is not None
    assert source.grad.norm() > 0.1


@pytest.mark.parametrize("name", ["coral", "mmd"])
def test_distance_of_an_empty_batch_is_zero_with_a_graph(name: str) -> None:
    source, empty = drawn(4, 3).requires_grad_(), drawn(0, 3)
    of_distributions = partial(discrepancy.mmd, bandwidths=[1.0], unbiased=True)
    distance = discrepancy.coral(source, empty) if name == "coral" else of_distributions(source, empty)
    (gradient,) = torch.autograd.grad(distance, source)
    assert distance.item() == 0
    assert not gradient.any()


def test_semantic_alignment_and_separation_equal_a_loop_over_pairs() -> None:
    distances = torch.tensor([[0.5, 2.0], [0.0, 0.25], [1.5, 0.75]], dtype=torch.float64)
    same = torch.tensor([[True, False], [False, True], [True, False]])
    # same: .5, .25, 1.5; different: 2, 0, .75
    assert float(discrepancy.semantic_alignment(distances, same)) == pytest.approx(
        (0.5**2 + 0.25**2 + 1.5**2) / 2 / 3
    )
    assert float(discrepancy.separation(distances, ~same, 1.0)) == pytest.approx((0 + 1 + 0.25**2) / 2 / 3)
    assert float(discrepancy.semantic_alignment(distances, torch.zeros_like(same))) == 0


def test_reversed_gradient_is_the_identity_with_a_negated_gradient() -> None:
    features = drawn(3, 2).requires_grad_()
    weights = drawn(3, 2, seed=1)
    read = discrepancy.reversed_gradient(features, 0.25)
    assert torch.equal(read, features)
    (gradient,) = torch.autograd.grad((read * weights).sum(), features)
    torch.testing.assert_close(gradient, -0.25 * weights)


def test_domain_loss_equals_the_logs_of_the_probabilities() -> None:
    logits = drawn(5)
    weights = torch.tensor([1.0, 3.0, 1.0, 1.0, 2.0], dtype=torch.float64)
    of_source = 1 / (1 + np.exp(-logits.numpy()))
    source, target = -np.log(of_source[:2]), -np.log(1 - of_source[2:])
    torch.testing.assert_close(
        float(discrepancy.domain_loss(logits, 2)), float((source.mean() + target.mean()) / 2)
    )
    expected = (source @ [0.25, 0.75] + target @ [0.25, 0.25, 0.5]) / 2
    torch.testing.assert_close(float(discrepancy.domain_loss(logits, 2, weights)), float(expected))


def test_entropy_weights_are_one_plus_exp_minus_entropy() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    weights = discrepancy.entropy_weights(logits)
    torch.testing.assert_close(weights, torch.tensor([1 + 1 / 3, 2.0], dtype=torch.float64))
    assert not weights.requires_grad


def test_multilinear_equals_the_outer_product() -> None:
    features, probabilities = drawn(4, 3), drawn(4, 2, seed=1).softmax(-1)
    expected = [np.outer(f, g).ravel() for f, g in zip(features.numpy(), probabilities.numpy(), strict=True)]
    torch.testing.assert_close(
        discrepancy.multilinear(features, probabilities), torch.tensor(np.array(expected))
    )


def test_randomised_multilinear_has_the_inner_products_of_the_whole_map() -> None:
    features, probabilities = drawn(2, 3), drawn(2, 4, seed=1).softmax(-1)
    maps = (drawn(200_000, 3, seed=2), drawn(200_000, 4, seed=3))
    product = discrepancy.randomised_multilinear(features, probabilities, maps)
    whole = discrepancy.multilinear(features, probabilities)
    torch.testing.assert_close(product @ product.T, whole @ whole.T, rtol=0.05, atol=0.02)
    by_hand = (maps[0][7] @ features[1]) * (maps[1][7] @ probabilities[1]) / 200_000**0.5
    torch.testing.assert_close(product[1, 7], by_hand)


def test_squared_distances_equal_differences() -> None:
    x, p = drawn(4, 3), drawn(2, 3, seed=1)
    expected = (x.unsqueeze(1) - p).pow(2).sum(-1)
    torch.testing.assert_close(discrepancy.squared_distances(x, p), expected)


def test_class_confusion_equals_its_equations() -> None:
    logits = drawn(6, 4).requires_grad_()
    z = logits.detach().numpy() / 2.5
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    w = 1 + np.exp((p * np.log(p)).sum(1))
    w = 6 * w / w.sum()
    confusion = np.zeros((4, 4))
    for i in range(6):
        confusion += w[i] * np.outer(p[i], p[i])
    confusion /= confusion.sum(1, keepdims=True)
    expected = sum(confusion[a, b] for a in range(4) for b in range(4) if a != b) / 4
    found = discrepancy.class_confusion(logits, 2.5)
    assert float(found.detach()) == pytest.approx(expected)
    assert float(discrepancy.class_confusion(100 * torch.eye(4), 1.0)) == pytest.approx(0.0)
    assert float(discrepancy.class_confusion(torch.zeros(3, 4), 1.0)) == pytest.approx(3 / 4)
    assert float(discrepancy.class_confusion(drawn(0, 4), 2.5)) == 0
