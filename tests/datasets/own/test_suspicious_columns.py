"""Columns that are no features by their content: indices, row numbers, copies of the label, constants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from coldstart_cli.datasets.own.columns import Cells
from coldstart_cli.datasets.own.suspicious_columns import suspicions


def cells(values: Sequence[object], as_words: bool = False) -> Cells:
    found = Cells(as_words)
    for value in values:
        found.add(value)
    return found


LABELS = ["x", "y"] * 10


RANDOM = np.random.default_rng(0).normal(size=20).tolist()


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("", RANDOM, "no name"),
        ("Unnamed: 0", RANDOM, "no name"),
        ("row", range(1, 21), "like a row number"),
        ("when", np.cumsum(np.abs(RANDOM)).tolist(), "like a row number"),
        ("copy", ["a", "b"] * 10, "beside one label alone"),
        ("code", [0, 1] * 10, "beside one label alone"),
        ("c", [7] * 20, "has one value in all rows"),
    ],
)
def test_suspicious_columns_are_named(name: str, values: Sequence[object], what: str) -> None:
    (line,) = suspicions({name: cells(list(values)), "f": cells(RANDOM)}, LABELS, 1)
    assert what in line and (name or "''") in line
    assert name or "\"dataset.ignore=['']\"" in line  # as a shell has to have it


def test_ordinary_columns_are_not_suspicious() -> None:
    columns = {
        "f": cells(RANDOM),
        "often": cells(["a", "b"] * 9 + ["b", "a"]),
    }
    assert suspicions(columns, LABELS, 1) == [] and suspicions({"f": cells([1, 2])}, ["x", "y"], 1) == []


def test_rows_that_repeat_are_no_evidence_that_a_column_decides() -> None:
    assert suspicions({"f": cells(2 * RANDOM)}, 2 * LABELS, 1) == []


def test_a_word_of_its_own_in_each_row_is_named() -> None:
    columns = {"pid": cells([f"P{i}" for i in range(20)]), "seven": cells([f"v{i % 7}" for i in range(20)])}
    (line,) = suspicions(columns, LABELS, 1)
    assert line.startswith("dataset.ignore: column pid: nearly every row has a word of its own")


def test_an_index_begins_anew_in_each_file() -> None:
    twice = {"i": cells([*range(10), *range(10)])}
    assert suspicions(twice, [], 1) == [] and "like a row number" in suspicions(twice, [], 2)[0]
