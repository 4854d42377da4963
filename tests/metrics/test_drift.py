"""The energy distance by sums over pairs, and what it must and must not tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from coldstart_cli.metrics import drift as module
from coldstart_cli.metrics.drift import drift


def by_hand(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """E, and twice the mean distance between the two, one pair after the other."""

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([[np.linalg.norm(one - other) for other in y] for one in x]))

    return 2 * mean(a, b) - mean(a, a) - mean(b, b), 2 * mean(a, b)


def test_the_distance_is_that_of_the_formula_in_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    g = np.random.default_rng(3)
    x, further = g.normal(size=(17, 3)), np.arange(17) % 3 == 0
    classes = np.repeat([0, 1, 2], [8, 8, 1])  # the last has one kind alone, and counts for nothing
    x[further] += 2
    drawn: list[np.ndarray] = []

    def kept(own: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        drawn.append(np.concatenate([own[None], generator.permuted(np.tile(own, (999, 1)), axis=1)]))
        return drawn[-1]

    monkeypatch.setattr(module, "_rearranged", kept)
    found = drift(x, further, classes)
    total, largest, chance = 0.0, 0.0, np.zeros(5)
    for name, arrangements in zip((0, 1), drawn, strict=True):
        own = x[classes == name]
        for number, which in enumerate([further[classes == name], *arrangements[1:6]]):
            a, b = own[~which], own[which]
            weight = len(a) * len(b) / (len(a) + len(b))
            e, most = by_hand(a, b)
            if number == 0:
                total, largest = total + weight * e, largest + weight * most
            else:
                chance[number - 1] += weight * e
    assert found is not None and (found.earlier, found.further) == (10, 6)
    every = np.array([_total(x, classes, drawn, number) for number in range(1, 1000)])
    assert every[:5] == pytest.approx(chance)
    assert found.coefficient == pytest.approx((total - every.mean()) / largest)
    assert found.p == pytest.approx((1 + (every >= total - 1e-12).sum()) / 1000)


def _total(x: np.ndarray, classes: np.ndarray, drawn: list[np.ndarray], number: int) -> float:
    """T of an arrangement, by norms of all pairs."""
    total = 0.0
    for name, arrangements in zip((0, 1), drawn, strict=True):
        own, which = x[classes == name], arrangements[number]
        distances = np.linalg.norm(own[:, None] - own[None], axis=-1)
        m, n = which.sum(), (~which).sum()
        e = 2 * distances[which][:, ~which].mean() - distances[which][:, which].mean()
        total += m * n / (m + n) * (e - distances[~which][:, ~which].mean())
    return float(total)


def test_a_shift_is_told_and_another_share_of_a_class_is_not() -> None:
    g = np.random.default_rng(0)
    classes = np.repeat([0, 1], 40)
    x = g.normal(size=(80, 5)) + 9 * classes[:, None]
    further = np.arange(80) % np.where(classes == 0, 2, 10) == 1  # many of one class, few of the other
    same = drift(x, further, classes)
    assert same is not None and same.p > 0.05 and same.coefficient < 0.05
    moved = drift(x + 2 * further[:, None], further, classes)
    assert moved is not None and moved.p <= 0.002 and moved.coefficient > same.coefficient + 0.1


def test_equal_samples_are_told_apart_as_often_as_the_level_says() -> None:
    g = np.random.default_rng(1)
    found = [drift(g.normal(size=(24, 4)), np.arange(24) < 9, np.arange(24) % 2) for _ in range(200)]
    assert 0.01 <= np.mean([one is not None and one.p <= 0.05 for one in found]) <= 0.1


def test_few_examples_tell_nothing_and_equal_ones_lie_at_no_distance() -> None:
    x = np.zeros((6, 2))
    assert drift(x, np.arange(6) < 1, np.zeros(6, np.int64)) is None
    assert drift(np.zeros((40, 2)), np.arange(40) < 20, np.arange(40)) is None  # no class has both
    found = drift(np.zeros((40, 2)), np.arange(40) < 20, np.zeros(40, np.int64))
    assert found is not None and (found.coefficient, found.p) == (0.0, 1.0)


def test_of_many_examples_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", 30)
    x = np.random.default_rng(0).normal(size=(90, 2))
    found = drift(x, np.arange(90) % 2 == 0, np.zeros(90, np.int64))
    assert found is not None and found.earlier + found.further == 30
