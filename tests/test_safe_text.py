from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.safe_text import csv_cell, csv_text, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [("loss", "loss"), ("été 形", "été 形"), ("\x1b[31mred", "\\x1b[31mred"), ("a\nb\x00", "a\\nb\\x00"),
     ("\u202eevil", "\\u202eevil"), ("[red]$x^2$<b>", "[red]$x^2$<b>")],
)  # fmt: skip
def test_printable_writes_escapes_as_text(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_printable_keeps_what_it_is_told_to() -> None:
    assert printable("a\nb\x1b", kept="\n") == "a\nb\\x1b"


@given(st.text())
def test_printable_text_is_printable_and_stays_as_it_is(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "  =1", "\uff1d1"])
def test_csv_cell_that_would_start_a_formula_is_quoted(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [None, -1, -1.5, True, "a=1", "", "1-2"])
def test_csv_cell_of_a_number_or_harmless_text_stays(value: object) -> None:
    assert csv_cell(value) == value


@given(st.lists(st.tuples(st.text(), st.integers()), min_size=1))
def test_csv_text_has_a_line_for_each_row_whatever_is_in_it(rows: list[tuple[str, int]]) -> None:
    head, *read = csv.reader(io.StringIO(csv_text([{"name": name, "n": n} for name, n in rows])))
    assert head == ["name", "n"]
    assert [int(n) for _, n in read] == [n for _, n in rows]
    assert not any(name[:1] in ("=", "+", "-", "@", "\t", "\r") for name, _ in read)


def test_csv_text_of_no_rows_is_empty() -> None:
    assert csv_text([]) == ""
