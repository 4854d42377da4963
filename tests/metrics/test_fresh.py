"""Metrics on examples that nothing was learned from: values by hand, intervals by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from coldstart_cli.metrics import fresh
from coldstart_cli.metrics.held_out import binomial


def alone(n: int) -> fresh.Together:
    return np.arange(n), np.arange(n)


def answers(n: int, seed: int, classes: int = 4) -> tuple[fresh.Whole, fresh.Whole]:
    rng = np.random.default_rng(seed)
    targets = rng.choice(classes, n, p=np.array([8, 4, 2, 1]) / 15)
    wrong = rng.random(n) < np.array([0.05, 0.2, 0.3, 0.4])[targets]
    return targets, np.where(wrong, rng.integers(classes, size=n), targets)


def by_hand(targets: fresh.Whole, said: fresh.Whole) -> tuple[float, float]:
    """Balanced accuracy and macro F1, class by class."""
    recalls, f1 = [], []
    for c in {*targets.tolist(), *said.tolist()}:
        hits, t, s = ((targets == c) & (said == c)).sum(), (targets == c).sum(), (said == c).sum()
        f1.append(2 * hits / (t + s))
        recalls += [hits / t] if t else []
    return float(np.mean(recalls)), float(np.mean(f1))


def test_values_by_hand() -> None:
    targets, said = answers(200, 0)
    said[:3] = 4  # an answer of no row's class
    rows = alone(200)
    balanced, f1 = by_hand(targets, said)
    assert fresh.accuracy((targets == said).astype(float), rows, 0.95).share == np.mean(targets == said)
    assert fresh.balanced_accuracy(targets, said, rows, 0.95).share == pytest.approx(balanced)
    assert fresh.macro_f1(targets, said, rows, 0.95).share == pytest.approx(f1)
    scores = np.random.default_rng(1).normal(size=200).round(1)
    known, unknown = scores[:120], scores[120:]
    pairs = np.sign(unknown[:, None] - known) / 2 + 0.5
    assert fresh.foreign(known, unknown).auroc == pytest.approx(pairs.mean())
    true = np.random.default_rng(2).normal(size=200)
    squares, spread = (true - scores) ** 2, (true - true.mean()) ** 2
    value, low, high = fresh.r2(squares, spread, np.arange(200), 0.95)
    assert value == pytest.approx(1 - squares.sum() / spread.sum()) and low < value < high
    assert math.isnan(fresh.r2(squares, 0 * spread, np.arange(200), 0.95)[0])


def test_intervals_hold_in_as_many_cases_as_they_say() -> None:
    truth_t, truth_s = answers(400_000, 99)
    balanced, f1 = by_hand(truth_t, truth_s)
    inside = np.zeros(2)
    for seed in range(300):
        targets, said = answers(90, seed)
        if len(np.unique(targets)) < 4:  # the classes are those of the file
            continue
        for i, (function, true) in enumerate(((fresh.balanced_accuracy, balanced), (fresh.macro_f1, f1))):
            found = function(targets, said, alone(90), 0.95)
            inside[i] += found.low <= true <= found.high
    assert (inside / 300 >= 0.93).all()


def test_what_repeats_or_comes_from_one_origin_counts_once() -> None:
    targets, said = (np.repeat(part, 5) for part in answers(40, 3))
    five = np.repeat(np.arange(40), 5)
    for function in (fresh.balanced_accuracy, fresh.macro_f1):
        once = function(*answers(40, 3), alone(40), 0.95)
        repeated = function(targets, said, (five, five), 0.95)
        assert repeated.low == pytest.approx(once.low, abs=0.02) and repeated.share == pytest.approx(
            once.share
        )
        assert function(targets, said, (np.arange(200), five), 0.95).low < once.low + 0.02
    right = np.repeat([1.0, 0.0], [150, 50])
    assert fresh.accuracy(right, (five, five), 0.95) == binomial(0.75, 40, 0.95)
    assert fresh.accuracy(right[:0], alone(0), 0.95).high == 1.0


def test_all_right_is_as_sure_as_the_classes_are_large() -> None:
    targets = np.repeat([0, 1], [98, 2])
    found = fresh.balanced_accuracy(targets, targets, alone(100), 0.95)
    # Weights 1 / (2 n_c): as many independent ones as 4 / (1 / 98 + 1 / 2).
    assert found.low == pytest.approx(binomial(1.0, 4 / (1 / 98 + 1 / 2), 0.95).low)


def test_coverage_counts_the_surest_answers() -> None:
    sure = np.array([0.5, 0.9, 0.7, 0.6])
    right = np.array([0.0, 1.0, 1.0, 0.0])
    whole, half = fresh.answered(sure, right, alone(4), (1.0, 0.5), 0.95)
    assert (whole.precision, whole.threshold, whole.answered) == (0.5, 0.5, 4)
    assert (half.precision, half.threshold, half.share) == (1.0, 0.7, 0.5)
    assert (half.low, half.high) == (binomial(1.0, 2, 0.95).low, 1.0)
    assert math.isnan(fresh.answers_from(0.95, sure, right, alone(4), 0.95).precision)


def test_a_threshold_keeps_its_precision_in_as_many_cases_as_it_says() -> None:
    """Calibrated answers: from a threshold t on, of a uniform probability, (1 + t) / 2 of them are right."""
    broken = given = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        sure = rng.random(400)
        right = (rng.random(400) < sure).astype(float)
        found = fresh.threshold_for(sure, right, alone(400), 0.7, confidence=0.95, design_effect=1.0)
        given += found is not None
        broken += found is not None and (1 + found.threshold) / 2 < 0.7
    assert given > 250
    assert broken / 300 <= 0.05


def test_a_threshold_passes_by_the_binomial_bound_of_its_start() -> None:
    sure = np.linspace(1.0, 0.001, 1000)
    right = (np.arange(1000) < 900).astype(float)
    found = fresh.threshold_for(sure, right, alone(1000), 0.95, confidence=0.95, design_effect=1.0)
    assert found is not None
    # By hand: each start has .005; the bound of k answers of which 900 are right.
    passing = [
        k for k in range(10, 1001, 10) if stats.beta.ppf(0.005, min(k, 900), k - min(k, 900) + 1) >= 0.95
    ]
    assert found.answered == max(passing) and found.low >= 0.95
    for few in (np.ones(20), np.zeros(0)):
        none = fresh.threshold_for(few, few, alone(len(few)), 0.95, confidence=0.95, design_effect=1.0)
        assert none is None
    assert fresh.threshold_for(sure, 1 - right, alone(1000), 0.5, confidence=0.95, design_effect=1.0) is None


def test_confident_disagreement_by_the_paper() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 50)
    labels = rng.integers(2, size=50)  # no example of the third class
    own = p[np.arange(50), labels]
    thresholds = fresh.self_confidence(own, labels, 3)
    expected = []
    for row, label in zip(p, labels, strict=True):
        reached = {c: row[c] for c in (0, 1) if row[c] >= p[labels == c, c].mean()}
        expected.append(bool(reached) and max(reached, key=lambda c: reached[c]) != label)
    assert fresh.confident_disagreement(p, labels, thresholds).tolist() == expected
    assert any(expected)
