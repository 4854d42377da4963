"""Curves in characters: what is drawn where, in any number of steps, columns and rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.loggers.curve import BINS, LABEL, Series, drawing, panel

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-10, 10)


def test_drawing_is_joined_dots_from_bottom_to_top() -> None:
    # Braille: left dots 1 2 4 40, right dots 8 10 20 80, from the top; each column joins its neighbour
    rising = drawing([0.0, 1.0, 2.0, 3.0], 1, ascii_only=False)
    assert rising == [chr(0x2800 + 0x40 + 0x20 + 0x80) + chr(0x2800 + 0x02 + 0x04 + 0x08 + 0x10)]
    assert drawing([3.0, 0.0], 1, ascii_only=True) == ["':"]
    assert drawing([0.0, 3.0], 2, ascii_only=True) == [" :", ".:"]


def test_drawing_joins_across_values_that_are_missing() -> None:
    full = drawing([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 3, ascii_only=True)
    assert drawing([0.0, math.nan, 2.0, math.inf, 4.0, 5.0], 3, ascii_only=True) == full
    assert drawing([math.nan] * 6, 2, ascii_only=False) == ["   ", "   "]


@given(st.lists(numbers, min_size=1, max_size=60), st.integers(1, 8), st.booleans())
def test_drawing_has_a_dot_for_every_value(values: list[float], rows: int, ascii_only: bool) -> None:
    lines = drawing(values, rows, ascii_only=ascii_only)
    across = 1 if ascii_only else 2
    assert [len(line) for line in lines] == [math.ceil(len(values) / across)] * rows
    assert not ascii_only or set("".join(lines)) <= set(" '.:")
    for x, value in enumerate(values):
        if math.isfinite(value):
            assert any(line[x // across] != " " for line in lines)
    finite = [value for value in values if math.isfinite(value)]
    if finite and max(finite) > min(finite):
        assert lines[0][values.index(max(finite)) // across] != " "
        assert lines[-1][values.index(min(finite)) // across] != " "


@given(st.integers(1, 3000), st.integers(1, BINS))
def test_series_keeps_the_means_of_equal_stretches(total: int, n: int) -> None:
    series, steps = Series(total), np.arange(1, total + 1)
    for step in steps:
        series.add(int(step), float(step) ** 2)
    place = ((steps - 1) * BINS // total)[:, None]  # of 400 stretches, gathered into n
    bounds = np.arange(n + 1) * BINS // n
    inside = (place >= bounds[:-1]) & (place < bounds[1:])
    assert (inside.sum(1) == 1).all()
    for mean, mask in zip(series.means(n), inside.T, strict=True):
        assert mean == pytest.approx((steps[mask] ** 2).mean()) if mask.any() else math.isnan(mean)


def test_series_passes_over_what_is_not_finite_and_out_of_range() -> None:
    series = Series(10)
    series.add(11, 2.0)  # more steps than were announced
    series.add(5, math.inf)
    assert series.latest == math.inf
    assert [m for m in series.means(10) if not math.isnan(m)] == [2.0]
    assert series.means(10)[9] == 2.0
    assert all(math.isnan(m) for m in Series(0).means(BINS))


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 6])
@given(width=st.integers(LABEL + 5, 500), values=st.lists(numbers, max_size=30))
def test_panel_fits_its_width(width: int, values: list[float], rows: int, ascii_only: bool) -> None:
    series = Series(max(1, len(values)))
    for step, value in enumerate(values, 1):
        series.add(step, value)
    lines = panel("x", series, width, rows, ascii_only=ascii_only)
    assert len(lines) == rows + 2
    assert all(len(line) <= width for line in lines)
    assert all(line.isascii() for line in lines) or not ascii_only


def test_panel_says_what_it_shows() -> None:
    series = Series(2000)
    for step, value in ((10, 4.0), (1000, 0.25), (2000, 0.5)):
        series.add(step, value)
    title, *rows, axis = panel("loss", series, 60, 4, ascii_only=False)
    assert title.split() == ["loss", "0.5"]
    assert (rows[0].split()[0], rows[-1].split()[0]) == ("4", "0.25")
    assert axis.split() == ["1", "2,000"]
