"""Learning curves drawn out: what is known comes back, and what is not known is said to be unsure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.metrics import extrapolation
from coldstart_cli.metrics.extrapolation import Gain, curves

SIZES = (1.0, 2.0, 4.0, 8.0)


def shares(a: float, b: float, c: float) -> list[float]:
    return [1 - c - a * k**-b for k in SIZES]


@pytest.mark.parametrize(("a", "b", "c"), [(0.5, 0.5, 0.1), (0.4, 1.0, 0.0), (0.3, 0.3, 0.02)])
def test_a_curve_of_many_labels_is_drawn_out_as_it_goes_on(a: float, b: float, c: float) -> None:
    found = curves(SIZES, shares(a, b, c), 1_000_000, 8)
    truth = a * 8**-b - a * 32**-b
    gain = found.gain(32, 0.9)
    assert gain.mean == pytest.approx(truth, abs=0.006)  # the grid's steps
    assert found.labels_for(gain.mean, 80) == 32
    assert found.labels_for(0.99, 80) is None


def test_few_labels_leave_a_wide_interval_and_many_a_narrow_one() -> None:
    widths = []
    for n in (30, 300, 3000):
        gain = curves(SIZES, shares(0.5, 0.5, 0.1), n, 8).gain(16, 0.9)
        widths.append(gain.high - gain.low)
    assert widths[0] > 1.3 * widths[1] > 1.7 * widths[2] > 0


def test_the_farther_the_more_and_the_less_sure() -> None:
    found = curves(SIZES, shares(0.5, 0.5, 0.1), 100, 8)
    near, far = found.gain(10, 0.9), found.gain(40, 0.9)
    assert near.mean < far.mean and near.high - near.low < far.high - far.low


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.integers(4, 500),
    st.floats(1.01, 10),
)
def test_any_curve_has_a_gain_that_errors_leave_room_for(said: list[float], n: int, times: float) -> None:
    sizes = list(range(1, len(said) + 1))
    found = curves(sizes, said, n, len(said)).gain(times * len(said), 0.9)
    assert isinstance(found, Gain) and np.isfinite([found.low, found.mean, found.high]).all()
    assert 0 <= found.mean <= 1 and found.low <= found.high <= 1


def test_no_error_promises_nothing() -> None:
    gain = curves(SIZES, [1.0] * 4, 40, 10).gain(20, 0.9)
    assert gain.mean < 0.01 and gain.high < 0.05


def test_the_constants_are_those_that_the_page_names() -> None:
    assert extrapolation.RATES.min() > 0 and extrapolation.FLOORS.max() < 1
