"""Rows of CSV and TSV: nothing that a file's writer meant otherwise is read without a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from coldstart_cli.datasets.readers.delimited import EARLIER, TableFormat, delimited
from coldstart_cli.datasets.readers.lines import Lines
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.errors import RequestError

Rows = list[tuple[str, Mapping[str, Any]]]


def read(text: str, suffix: str = ".csv", on_bad: OnBad = "stop", **form: Any) -> tuple[Rows, Problems]:
    """The rows, and what is said of them."""
    problems = Problems(on_bad)
    written = TableFormat(**{"encoding": "utf-8", **EARLIER, **form})
    lines = Lines(text.splitlines(keepends=True))
    return list(delimited(lines, "f", suffix, written, problems)), problems


def said(problems: Problems) -> str:
    with pytest.warns(RuntimeWarning) as caught:
        problems.warn("f")
    return " ".join(str(one.message) for one in caught)


@pytest.mark.parametrize(
    ("text", "suffix", "sign"),
    [
        ("a;b\n1,5;2\n", ".csv", "semicolon"),
        ("a\tb\n1,5\t2\n", ".csv", "tab"),
        ("a|b\n1,5|2\n", ".csv", "pipe"),
        ("a;b\n1,5;2\n", ".tsv", "semicolon"),
    ],
)
def test_separator_is_read_off_the_first_row_and_said(text: str, suffix: str, sign: str) -> None:
    rows, problems = read(text, suffix)
    assert rows == [("f row 2", {"a": "1,5", "b": "2"})]
    assert f"columns are separated by {sign}, as its first row shows" in said(problems)
    assert read(text, suffix, delimiter=sign)[1]._remarks == {}


@pytest.mark.parametrize("text", ["a,b;c\n1,2;3\n", "question\nwhere; here\n"])
def test_separator_of_the_name_is_kept_where_the_first_row_has_it_or_none(text: str) -> None:
    rows, problems = read(text)
    assert len(rows) == 1 and problems._remarks == {}


OPENED = 'text,label\nfine,x\n"a b,x\n' + "row,y\n" * 39 + 'size 27",z\nlast,x\n'


def test_mark_that_swallows_rows_is_refused_by_name() -> None:
    with pytest.raises(
        RequestError, match=r"f row 3: column text is a quoted text of 41 lines, 40 of them look like rows"
    ):
        read(OPENED)


def test_every_line_that_is_lost_is_counted() -> None:
    rows, problems = read(OPENED, on_bad="skip")
    assert [row["text"] for _, row in rows] == ["fine", "last"] and len(problems.skipped) == 41
    assert problems.skipped[-1] == "f line 43: it is lost with row 3"
    open_to_the_end = 'text,label\nfine,x\n"a b,x\n' + "row,y\n" * 39
    assert len(read(open_to_the_end, on_bad="skip")[1].skipped) == 40


def test_marks_are_letters_where_that_is_asked_or_columns_are_tabs() -> None:
    rows, _ = read(OPENED, quoted=False)
    assert len(rows) == 43 and rows[1][1] == {"text": '"a b', "label": "x"}
    rows, problems = read(OPENED.replace(",", "\t"), ".tsv")
    assert len(rows) == 43 and problems._remarks == {}
    rows, _ = read(OPENED, quoted=True)
    assert len(rows) == 3


def test_texts_of_several_lines_are_no_swallowed_rows() -> None:
    letter = 'text,label\n"Dear all,\nplease, if you can, send it,\nand tell me\nBest",x\nnext,y\n'
    rows, problems = read(letter)
    assert len(rows) == 2 and problems._remarks == {}


def test_one_line_break_after_separators_is_said() -> None:
    rows, problems = read('text,label\n"a b,x\nsize 27",y\n')
    assert len(rows) == 1 and "1 quoted texts hold a line break after separators" in said(problems)


def test_marks_that_stay_in_a_table_of_tabs_are_said() -> None:
    rows, problems = read('a\tb\n"x, y"\t1\n', ".tsv")
    assert rows[0][1]["a"] == '"x, y"' and "dataset.quoted=true takes them off" in said(problems)
    assert read('a\tb\n"x, y"\t1\n', ".tsv", quoted=True)[0][0][1]["a"] == "x, y"


def test_empty_columns_at_the_end_are_left_out_with_their_count() -> None:
    rows, problems = read("a,b,,\n1,2,,\n3,4\n")
    assert [row for _, row in rows] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert "2 columns at the end have no name and are left out" in said(problems)
    with pytest.raises(RequestError, match="4 fields under 2 columns"):
        read("a,b,,\n1,2,3,\n")
    rows, problems = read("a,b\n1,2,,\n3,4\n")
    assert len(rows) == 2 and "1 rows end in empty fields beyond the columns" in said(problems)


def test_columns_have_numbers_without_a_header() -> None:
    rows, _ = read("hello,x\nbye,y\n", header=False)
    assert rows == [
        ("f row 1", {"column_1": "hello", "column_2": "x"}),
        ("f row 2", {"column_1": "bye", "column_2": "y"}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no header row"),
        ("a,a\n1,2\n", "column 'a' is there twice; rename one of them, or set dataset.header=false"),
        ("a,b\n1\n", "f row 2: 1 fields under 2 columns; repair it, or name what separates columns"),
        ('a,b\n"x"y,1\n', "f row 2: it is no CSV"),
    ],
)
def test_what_is_no_table_is_one_line(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read(text)
