"""Columns of a table as features: numbers standardised, categories one-hot, missing values marked.

A number is (x - mean) / deviation; a missing one is 0, its mean, and has a further feature that says so where
values are missing among the rows that were fitted. A category has a feature for each value of those rows; one
that is missing or not among them has zeros.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import MISSING, text_of
from coldstart_cli.digests import row_hashes
from coldstart_cli.errors import RequestError, suggestion

ABSENT, NUMBER, WORD = range(3)
_MOSTLY = 0.9
"""A column is of numbers where this share of its values are; then the others are bad rows."""

_EPSILON = float(np.finfo(np.float64).eps)
_GROUPS = r"[+-]?[1-9]\d{0,2}(?:\.\d{3})"
_COMMA = re.compile(rf"(?:[+-]?\d*|{_GROUPS}+),\d+(?:[eE][+-]?\d+)?")
"""A number whose decimals stand after a comma, and whose thousands may be set off by points."""
_POINTS = re.compile(rf"{_GROUPS}{{2,}}")
"""A whole number in thousands."""
_EITHER = re.compile(_GROUPS)
"""1.234, which may be either."""

Decimal = Literal["point", "comma"]
Column = Mapping[str, Any]
"""JSON: name, kind `number` with mean, deviation and missing, or kind `category` with values."""


class Cells:
    """The values of one column, 9 bytes each: a float or the number of a word, and which of them it is.

    Args:
        as_words: numbers are read as words too.
    """

    def __init__(self, as_words: bool) -> None:
        self.as_words = as_words
        self.values, self.kinds, self.words = array("d"), bytearray(), dict[str, int]()

    def __len__(self) -> int:
        return len(self.kinds)

    def add(self, value: object) -> None:
        kind, number, word = parsed(value)
        if kind == WORD or (kind == NUMBER and self.as_words):
            kind, number = WORD, float(self.words.setdefault(word, len(self.words)))
        self.values.append(number)
        self.kinds.append(kind)

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """(n,) values and kinds, which share the memory of this column."""
        return np.frombuffer(self.values), np.frombuffer(self.kinds, dtype=np.uint8)

    @property
    def is_numeric(self) -> bool:
        _, kinds = self.arrays()
        numbers, words = int((kinds == NUMBER).sum()), int((kinds == WORD).sum())
        return numbers > 0 and numbers >= _MOSTLY * (numbers + words)

    def texts(self) -> list[str]:
        """(n,) values as words, '' where there is none."""
        names = list(self.words)
        values, kinds = self.arrays()
        return [
            "" if kind == ABSENT else names[int(value)] if kind == WORD else _number_text(value)
            for value, kind in zip(values.tolist(), kinds.tolist(), strict=True)
        ]


def parsed(value: object) -> tuple[int, float, str]:
    """(kind, number, word) of a cell: `true` is a word, and so is what is not finite."""
    text = text_of(value)
    if text.lower() in MISSING:
        return ABSENT, 0.0, ""
    if isinstance(value, bool):
        return WORD, 0.0, text.lower()
    try:
        number = float(text)
    except ValueError:
        return WORD, 0.0, text
    if not np.isfinite(number) or "_" in text:
        return WORD, 0.0, text
    return NUMBER, number, _number_text(number)


def pointed(row: Mapping[str, Any], decimal: Decimal) -> Mapping[str, Any]:
    """A row whose numbers have a point before their decimals; what may be thousands as well is no number."""
    if decimal == "point":
        return row
    return {name: _pointed(value) for name, value in row.items()}


def _pointed(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if _COMMA.fullmatch(text) or _POINTS.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    return f"{text}: thousands or decimals?" if _EITHER.fullmatch(text) else value


def bad_rows(columns: Mapping[str, Cells], places: Sequence[str], problems: Problems) -> NDArray[np.bool_]:
    """(n,) rows with a word where the column has numbers; they go to `problems`."""
    bad = np.zeros(len(places), dtype=np.bool_)
    for name, cells in columns.items():
        if cells.is_numeric:
            values, kinds = cells.arrays()
            words = list(cells.words)
            for row in np.flatnonzero(kinds == WORD).tolist():
                if not bad[row]:
                    what = f"column {name} is {words[int(values[row])]!r:.40}, no finite number"
                    problems.add(places[row], what, "repair it or name the column in dataset.categories")
                bad[row] = True
    return bad


def fitted(columns: Mapping[str, Cells], rows: NDArray[np.int64], max_categories: int) -> list[Column]:
    """What is to be known of each column, from `rows` alone; columns without a value there are left out.

    Raises:
        RequestError: at a column of too many different words.
    """
    found: list[Column] = []
    for name, cells in columns.items():
        values, kinds = (part[rows] for part in cells.arrays())
        if not (kinds != ABSENT).any():
            continue
        if cells.is_numeric:
            numbers = values[kinds == NUMBER]
            deviation = deviation_of(numbers)
            missing = bool((kinds == ABSENT).any())
            found.append(
                {
                    "name": name,
                    "kind": "number",
                    "mean": float(numbers.mean()),
                    "deviation": deviation,
                    "missing": missing,
                }
            )
            continue
        _check_decimals(name, cells)
        words = cells.texts()
        known = sorted({words[row] for row in rows.tolist()} - {""})
        if len(known) > max_categories:
            raise RequestError(
                f"dataset.ignore: column {name} has {len(known):,} different values that are not numbers; "
                f"ignore it (dataset.ignore=[{name}]) or raise dataset.max_categories (E17)"
            )
        found.append({"name": name, "kind": "category", "values": known})
    return found


def deviation_of(numbers: NDArray[np.float64]) -> float:
    """The standard deviation, or 1 where it is no more than the rounding of equal numbers.

    Of a column that is 0.1 throughout the deviation comes out as 1.4e-17: divided by it, a value that is
    0.1 % off would be the largest feature of all.
    """
    return 1.0 if _is_constant(numbers) else float(numbers.std())


def constant(columns: Mapping[str, Cells]) -> list[str]:
    """The columns of numbers that have one value alone, but for rounding: they tell nothing."""
    found = []
    for name, cells in columns.items():
        values, kinds = cells.arrays()
        numbers = values[kinds == NUMBER]
        if len(numbers) == len(kinds) > 1 and _is_constant(numbers):
            found.append(name)
    return found


def _is_constant(numbers: NDArray[np.float64]) -> bool:
    return float(numbers.std()) <= _EPSILON * max(abs(float(numbers.mean())), 1.0)


def _check_decimals(name: str, cells: Cells) -> None:
    """
    Raises:
        RequestError: where words would be numbers if their commas were points.
    """
    commas = [word for word in cells.words if _COMMA.fullmatch(word)]
    if commas and not cells.as_words and len(commas) >= _MOSTLY * len(cells.words):
        raise RequestError(
            f"dataset.decimal: column {name} holds numbers with a comma ({commas[0]}); dataset.decimal=comma "
            f"reads them as numbers, dataset.categories=[{name}] as names (E16)"
        )


def encoded(columns: Sequence[Column], cells: Mapping[str, Cells]) -> NDArray[np.float32]:
    """(n, n_features) of all rows."""
    n = len(next(iter(cells.values())))
    features = np.zeros((n, width(columns)), dtype=np.float32)
    at = 0
    for column in columns:
        own = cells[column["name"]]
        if column["kind"] == "number":
            values, kinds = own.arrays()
            numbers = kinds == NUMBER
            features[numbers, at] = (values[numbers] - column["mean"]) / column["deviation"]
            at += 1
            if column["missing"]:
                features[:, at] = ~numbers
                at += 1
            continue
        place = {word: at + number for number, word in enumerate(column["values"])}
        for row, word in enumerate(own.texts()):
            if word in place:
                features[row, place[word]] = 1
        at += len(place)
    return features


def written_hashes(cells: Mapping[str, Cells]) -> NDArray[np.uint64]:
    """(n,) a hash of each row as it is written: whatever means, deviations and categories make of it."""
    columns = [[f"{name}={word}" for word in own.texts()] for name, own in sorted(cells.items())]
    return row_hashes("\0".join(row).encode("utf-8", "surrogatepass") for row in zip(*columns, strict=True))


def width(columns: Iterable[Column]) -> int:
    """Features of all columns together."""
    return sum(len(c["values"]) if c["kind"] == "category" else 1 + c["missing"] for c in columns)


def cells_for(columns: Sequence[Column]) -> dict[str, Cells]:
    """Empty cells for columns that are known."""
    return {column["name"]: Cells(column["kind"] == "category") for column in columns}


def check_numbers(columns: Sequence[Column], row: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a row for columns that are known: words where numbers stand."""
    for column in columns:
        if column["kind"] == "number":
            kind, _, word = parsed(row[column["name"]])
            if kind == WORD:
                yield f"column {column['name']} is {word!r:.40}, no finite number"


def check_words(columns: Sequence[Column], row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what is unfamiliar in a row for columns that are known, what to do): words that no category is."""
    for column in columns:
        if column["kind"] == "category":
            kind, _, word = parsed(row[column["name"]])
            if kind != ABSENT and word not in column["values"]:
                what = f"column {column['name']} is {word!r:.40}, none of its categories"
                yield what, f"{suggestion(word, column['values'])} (a missing value is allowed)"


def _number_text(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)
