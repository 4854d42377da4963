"""Paired rows against scipy's exact test and the arithmetic of a table of four cells."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from coldstart_cli.metrics.paired_rows import paired_rows

Reals = NDArray[np.float64]


def table(both: int, a: int, b: int, none: int) -> tuple[Reals, Reals]:
    """Right answers of two predictors: to so many rows both, one of them, and neither."""
    counts = [both, a, b, none]
    return np.repeat([1.0, 1, 0, 0], counts), np.repeat([1.0, 0, 1, 0], counts)


@pytest.mark.parametrize("cells", [(40, 9, 2, 9), (10, 0, 0, 3), (5, 1, 6, 0), (0, 8, 0, 0)])
def test_of_right_and_wrong_answers_it_is_mcnemars_with_agresti_and_mins_interval(
    cells: tuple[int, int, int, int],
) -> None:
    a, b = table(*cells)
    found = paired_rows(a, b, np.arange(len(a)), shares=True, confidence=0.95)
    _, better, worse, _ = cells
    assert found.difference == pytest.approx((better - worse) / len(a))
    exact = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert found.p == pytest.approx(exact)
    n, one, other = len(a) + 2, better + 0.5, worse + 0.5
    middle = (one - other) / n
    half = stats.norm.ppf(0.975) * np.sqrt(one + other - (one - other) ** 2 / n) / n
    assert found.low == pytest.approx(max(-1, middle - half)) and found.high == pytest.approx(
        min(1, middle + half)
    )
    assert found.low < found.high


def test_rows_that_repeat_count_once() -> None:
    a, b = table(2, 3, 0, 1)
    alone = paired_rows(a, b, np.arange(6), shares=True, confidence=0.95)
    twice = paired_rows(
        np.repeat(a, 2), np.repeat(b, 2), np.repeat(np.arange(6), 2), shares=True, confidence=0.95
    )
    assert twice == pytest.approx(alone) if isinstance(twice, float) else twice == alone


def test_of_reals_the_interval_is_students() -> None:
    generator = np.random.default_rng(0)
    a, b = -generator.random(12), -generator.random(12) - 0.2
    found = paired_rows(a, b, np.arange(12), shares=False, confidence=0.9)
    theirs = stats.ttest_rel(a, b).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    better = int((a > b).sum())
    assert found.p == pytest.approx(stats.binomtest(better, 12).pvalue)
    one = paired_rows(a, b, np.zeros(12, np.int64), shares=False, confidence=0.9)
    assert np.isnan(one.low) and one.p == 1.0 and one.difference == pytest.approx(found.difference)
