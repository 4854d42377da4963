"""How numbers are written: units, digits, and what is not known."""

from __future__ import annotations

import math

import pytest

from coldstart_cli.metrics import numbers
from coldstart_cli.metrics.numbers import MeanInterval, Numbers

SHARES = Numbers.of(True, [])


@pytest.mark.parametrize(
    ("mean", "half", "signed", "text"),
    [
        (0.9061, 0.0184, False, "90.6 ± 1.8"),
        (0.031, 0.008, True, "+3.1 ± 0.8"),
        (-0.031, 0.008, True, "-3.1 ± 0.8"),
        (0.5, None, False, "50.0 ± ?"),
        (0.5, math.inf, False, "50.0 ± ?"),
        (0.5, 2.118, False, "50.0 ± ?"),  # from two origins: wider than the scale
        (None, 0.1, True, "diverged"),
        (math.nan, 0.1, True, "diverged"),
    ],
)
def test_interval_writes_percent_and_what_is_not_finite(
    mean: float | None, half: float | None, signed: bool, text: str
) -> None:
    assert SHARES.interval(MeanInterval(mean, half), signed=signed) == text
    assert SHARES.interval(None) == "-"


@pytest.mark.parametrize(
    ("width", "decimals"), [(0.0021, 4), (0.15, 3), (45.0, 3), (7e-12, 9), (None, 3), (0.0, 3)]
)
def test_errors_have_three_decimals_or_two_digits_of_their_half_width(
    width: float | None, decimals: int
) -> None:
    assert Numbers.of(False, [width, None]).decimals == decimals


def test_sentences_have_a_unit() -> None:
    errors = Numbers.of(False, [0.01])
    assert SHARES.amount(0.031, 0.008) == "3.1 ± 0.8 points" and errors.amount(0.5, None) == "0.5 ± ?"
    assert SHARES.amount(None, 0.1) == SHARES.loss(None) == "an unknown amount"
    assert SHARES.loss(0.028) == "2.8 points" and errors.loss(0.028) == "0.028"
    assert SHARES.zone(0.005) == "0.5 points" and SHARES.zone(None) == "not known"
    assert errors.zone(0.1, 0.3, 0.2) == "0.1 to 0.3"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.004, "0.004"), (0.3, "0.30"), (2.5, "2.50"), (12.34, "12.3"), (1234.5, "1,234"), (None, "-")],
)
def test_durations_have_three_digits_but_none_below_a_hundredth(value: float | None, text: str) -> None:
    assert numbers.duration(value) == text


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.5, 12.34, None, 150.0], ["0.50", "12.34", "-", "150.00"]),
        ([12.34, 1234.5], ["12.3", "1,234.5"]),
        ([0.004, 5.0], ["0.004", "5.00"]),
        ([0.3, 1234.5], ["0.30", "1,234"]),  # more than a thousandfold: each has its own
        ([0.0, 150.0], ["0", "150"]),
        ([None], ["-"]),
    ],
)
def test_durations_of_a_column_have_as_many_decimals_as_the_shortest(
    values: list[float | None], texts: list[str]
) -> None:
    assert numbers.durations(values) == texts


def test_sizes_are_scaled_to_three_digits() -> None:
    assert numbers.scaled(112_261) == "112 k" and numbers.scaled(3400, "FLOP") == "3.4 kFLOP"
    assert numbers.scaled(999_999) == "1 M" and numbers.scaled(7) == "7"
    assert numbers.mebibytes(100 * 2**20) == "100" and numbers.mebibytes(None) == "-"
    assert numbers.significant(1234567) == "1,234,567" and numbers.significant(0.12345) == "0.123"


def test_two_numbers_that_differ_are_written_differently() -> None:
    assert numbers.told_apart(2.5, 2.0) == ("2.5", "2")
    assert numbers.told_apart(1.0001, 1.0) == ("1.0001", "1")
    assert numbers.told_apart(5.0, 5.0) == ("5", "5")
    first, second = numbers.told_apart(1000.2, 1000)
    assert first != second


def test_tests_and_correlations_say_what_is_not_known() -> None:
    assert numbers.p_value(1e-9) == "< 0.0001" and numbers.p_value(1e-9, "p") == "p < 0.0001"
    assert numbers.p_value(0.0123, "p") == "p = 0.012" and numbers.p_value(None) == "-"
    assert numbers.correlation(0.374) == "+0.37" and numbers.correlation(math.nan, "not known") == "not known"
    assert numbers.calibration("ece", 0.041) == "4.1" and numbers.calibration("brier", 0.14) == "0.140"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.5234, "0.523"),
        (-2.5, "-2.5"),
        (12.0, "12"),
        (1234.5, "1,234"),
        (2.1e7, "21,000,000"),
    ],
)
def test_significant_has_three_digits_or_is_whole(value: float | None, text: str) -> None:
    assert numbers.significant(value) == text
