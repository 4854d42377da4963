"""Intervals of a metric on held-out labels: by hand, against scipy, and by what they must never do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from coldstart_cli.metrics.held_out import (
    DESIGN_EFFECT,
    LEARNED,
    UNSEEN,
    accuracy,
    binomial,
    corrected,
    difference,
    effective_n,
    mean_difference,
    squared_error,
)


@pytest.mark.parametrize(("right", "n"), [(0, 4), (4, 4), (3, 7), (39, 40)])
def test_binomial_interval_is_that_of_clopper_and_pearson(right: int, n: int) -> None:
    theirs = stats.binomtest(right, n).proportion_ci(0.95, method="exact")
    ours = binomial(right / n, n, 0.95)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


def test_binomial_interval_of_nothing_claims_nothing() -> None:
    found = binomial(math.nan, 0, 0.95)
    assert (found.low, found.high) == (0.0, 1.0)


@given(st.lists(st.booleans(), min_size=4, max_size=40), st.integers(2, 8))
def test_accuracy_is_within_its_interval_and_never_surer_than_independent_answers(
    answers: list[bool], n_folds: int
) -> None:
    right, n = np.array(answers, dtype=np.float64), len(answers)
    alone = np.arange(n)
    found = accuracy(right, right[:4], n_folds, (alone, alone), chance=0.5, confidence=0.95)
    exact = binomial(float(right.mean()), n, 0.95)
    assert 0 <= found.low <= found.share <= found.high <= 1
    assert found.low <= exact.low and found.high >= exact.high and found.high - found.low > 0.05


def test_all_right_on_four_labels_is_not_certain() -> None:
    right, alone = np.ones(4), np.arange(4)
    found = accuracy(right, np.ones(4), 2, (alone, alone), chance=0.5, confidence=0.95)
    assert found.low < 0.4 and found.high == 1.0


def test_unseen_labels_raise_the_upper_end_alone_and_not_from_chance() -> None:
    alone = np.arange(30)

    def high(n_right: int, n_folds: int) -> float:
        right = np.repeat([1.0, 0.0], [n_right, 30 - n_right])
        by_fold = np.full(n_folds, right.mean())
        return accuracy(right, by_fold, n_folds, (alone, alone), chance=0.5, confidence=0.95).high

    plain = binomial(0.8, 30 / DESIGN_EFFECT, 0.95).high
    assert high(24, 2) == pytest.approx(min(1 - (1 - plain) / 2, 2 * plain - 0.5))
    assert high(24, 8) == pytest.approx(min(1 - (1 - plain) * 7 / 8, plain + (plain - 0.5) / 7))
    assert high(3, 2) == pytest.approx(binomial(0.1, 30 / DESIGN_EFFECT, 0.95).high)  # below chance


def test_what_repeats_counts_once() -> None:
    right, thrice = np.tile([1.0, 0.0], 15), np.repeat(np.arange(10), 3)
    assert effective_n(right, thrice, thrice, 0.95, design_effect=DESIGN_EFFECT) == pytest.approx(
        10 / DESIGN_EFFECT
    )


def test_origins_that_differ_leave_fewer_independent_answers() -> None:
    origins, alone = np.repeat(np.arange(5), 20), np.arange(100)
    alike = np.tile(np.repeat([1.0, 0.0], [16, 4]), 5)
    apart = np.repeat([1.0, 1.0, 1.0, 1.0, 0.0], 20)
    assert effective_n(alike, alone, origins, 0.95, design_effect=DESIGN_EFFECT) == pytest.approx(
        100 / DESIGN_EFFECT
    )
    # By hand: 5/4 * 5 residuals of 20 (x - .8), squared, / 100^2; t of 99 over t of 4 degrees of freedom.
    variance = 5 / 4 * 20**2 * (4 * 0.2**2 + 0.8**2) / 100**2
    t = stats.t.ppf(0.975, 99) / stats.t.ppf(0.975, 4)
    assert effective_n(apart, alone, origins, 0.95, design_effect=DESIGN_EFFECT) == pytest.approx(
        0.16 / variance * t**2
    )
    assert effective_n(alike, alone, np.zeros(100, dtype=np.int64), 0.95, design_effect=DESIGN_EFFECT) == 1.0


def test_corrected_interval_by_hand() -> None:
    # Ten repeats of ten folds: variance (1/100 + 1/9) sd2, 99 degrees of freedom (Bouckaert and Frank 2004).
    values = np.random.default_rng(0).normal(0.1, 0.2, 100)
    ours = corrected(values, 10, 0.95)
    error = math.sqrt(1 / 100 + 1 / 9) * np.std(values, ddof=1)
    assert ours.mean == pytest.approx(values.mean())
    assert ours.half_width == pytest.approx(stats.t.ppf(0.975, 99) * error)


def test_corrected_interval_claims_nothing_of_too_little() -> None:
    for values, n_folds in (
        (np.ones(1), 1),
        (np.ones(5), 1),
        (np.zeros(0), 2),
        (np.array([1.0, math.nan]), 2),
    ):
        assert corrected(values, n_folds, 0.95).half_width == math.inf


def test_interval_of_an_error_is_that_of_a_variance_with_fewer_degrees_of_freedom() -> None:
    errors, alone = np.array([0.1, 0.4, 0.2, 2.3, 0.0, 0.6]), np.arange(6)
    found = squared_error(errors, 3, (alone, alone), confidence=0.95)
    nu = 2 * errors.mean() ** 2 / (errors.var(ddof=1) / 6)
    assert nu / UNSEEN < 6 / LEARNED  # one error is far from the others
    total = nu / UNSEEN * errors.mean()
    assert found.mean == pytest.approx(0.6)
    assert found.high == pytest.approx(total / stats.chi2.ppf(0.025, nu / UNSEEN))
    assert found.low == pytest.approx(2 / 3 * total / stats.chi2.ppf(0.975, nu / UNSEEN))
    alike = np.full(6, 0.5)  # without any spread they say no more than six
    even = squared_error(alike, 3, (alone, alone), confidence=0.95)
    assert even.high == pytest.approx(6 / LEARNED * 0.5 / stats.chi2.ppf(0.025, 6 / LEARNED))


def test_errors_of_one_origin_count_once_and_one_tells_nothing() -> None:
    errors, alone = np.repeat([0.1, 0.5, 0.9, 0.3], 10), np.arange(40)
    origins = np.repeat(np.arange(4), 10)
    apart = squared_error(errors, 4, (alone, alone), confidence=0.95)
    together = squared_error(errors, 4, (alone, origins), confidence=0.95)
    assert together.low < apart.low and together.high > 2 * apart.high
    for few in (errors[:0], errors[:1]):
        nothing = squared_error(few, 4, (alone[: len(few)], alone[: len(few)]), confidence=0.95)
        assert (nothing.low, nothing.high) == (0.0, math.inf)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30), st.integers(2, 8))
def test_an_error_is_within_its_interval(errors: list[float], n_folds: int) -> None:
    alone = np.arange(len(errors))
    found = squared_error(np.array(errors), n_folds, (alone, alone), confidence=0.95)
    assert 0 <= found.low <= found.mean <= found.high


def test_difference_is_zous_and_donners_and_has_a_width_where_no_answer_differs() -> None:
    before = np.repeat([1.0, 0.0, 1.0, 0.0], [40, 12, 3, 5])
    after = np.repeat([1.0, 1.0, 0.0, 0.0], [40, 12, 3, 5])
    n, alone = 60, np.arange(60)
    found = difference(before, after, (alone, alone), confidence=0.95)
    b, c = (binomial(share, n / DESIGN_EFFECT, 0.95) for share in (12 / n, 3 / n))
    assert found.value == pytest.approx(9 / n)
    assert found.low == pytest.approx(9 / n - math.sqrt((12 / n - b.low) ** 2 + (c.high - 3 / n) ** 2))
    assert found.high == pytest.approx(9 / n + math.sqrt((b.high - 12 / n) ** 2 + (3 / n - c.low) ** 2))
    same = difference(before, before, (alone, alone), confidence=0.95)
    assert same.value == 0.0 and same.low < -0.03 and same.high > 0.03


def test_difference_holds_the_truth_as_often_as_it_says() -> None:
    g, alone, held = np.random.default_rng(0), np.arange(50), 0
    for _ in range(400):
        outcome = g.choice(4, size=50, p=[0.7, 0.12, 0.06, 0.12])  # both right, gained, lost, both wrong
        found = difference(
            np.isin(outcome, (0, 2)).astype(float), np.isin(outcome, (0, 1)).astype(float), (alone, alone),
            confidence=0.95,
        )  # fmt: skip
        held += found.low <= 0.06 <= found.high
    assert held / 400 >= 0.94


def test_mean_difference_is_students_over_clusters() -> None:
    d = np.array([0.1, 0.4, -0.2, 0.3, 0.6])
    theirs = stats.ttest_1samp(d, 0.0).confidence_interval(0.95)
    found = mean_difference(d, np.arange(5), 0.95)
    assert (found.low, found.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert mean_difference(d, np.zeros(5, np.int64), 0.95).high == math.inf
