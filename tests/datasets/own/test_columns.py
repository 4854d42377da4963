"""Columns as features: constants, decimals after a comma, and columns that are none by their content."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from coldstart_cli.datasets.own.columns import Cells, deviation_of, encoded, fitted, pointed
from coldstart_cli.errors import RequestError


def cells(values: Sequence[object], as_words: bool = False) -> Cells:
    found = Cells(as_words)
    for value in values:
        found.add(value)
    return found


def test_rounding_of_a_constant_is_no_deviation() -> None:
    column = {"c": cells(["0.1"] * 60)}
    assert np.full(60, 0.1).std() > 0  # what made a value that is 0.1 % off the largest feature
    (known,) = fitted(column, np.arange(60), 100)
    assert known["deviation"] == 1.0
    assert abs(encoded([known], {"c": cells(["0.1001"])})).max() < 1e-3
    assert deviation_of(np.array([1e9, 1e9 + 1])) == 0.5


def test_numbers_with_a_decimal_comma_are_named_and_read_on_request() -> None:
    written = ["0,5", "-1,25", "3,0"]
    with pytest.raises(
        RequestError, match=r"column c holds numbers with a comma \(0,5\); dataset.decimal=comma"
    ):
        fitted({"c": cells(written)}, np.arange(3), 100)
    assert [pointed({"c": value}, "comma")["c"] for value in written] == ["0.5", "-1.25", "3.0"]
    grouped = {
        "1.368,9": "1368.9",
        "-12.345.678": "-12345678",
        "0.250": "0.250",
        "1.5": "1.5",
        "1234": "1234",
    }
    assert {value: pointed({"c": value}, "comma")["c"] for value in grouped} == grouped
    assert pointed({"c": "1.234"}, "comma")["c"] == "1.234: thousands or decimals?"
    assert pointed({"c": 1.234}, "comma")["c"] == 1.234  # of JSON
    assert pointed({"c": "a, b"}, "comma") == {"c": "a, b"} and pointed({"c": "1,5"}, "point") == {"c": "1,5"}
    assert fitted({"c": cells(written, as_words=True)}, np.arange(3), 100)[0]["kind"] == "category"
