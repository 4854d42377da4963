"""Rows of CSV and TSV: what separates columns, what quotation marks mean, and what no row may hide.

Rows are counted as a spreadsheet does: the header is row 1. Where it is not given how a file is written, that
is guessed from its first row, and the guess is told.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from coldstart_cli.datasets.readers.lines import Lines
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError

Delimiter = Literal["auto", "comma", "semicolon", "tab", "pipe"]
EARLIER: Mapping[str, Any] = {"delimiter": "auto", "quoted": None, "header": True}
"""What recipes of runs and bundles leave unsaid that were written before these keys were known."""
Row = tuple[str, Mapping[str, Any]]
"""The place (`intents.csv row 3`) and the values by column."""

SIGNS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_LONGEST = 1 << 24
"""Characters of one field; the csv module's own limit is 131,072."""
_SEVERAL = 2
"""Line breaks of a quoted field from which on it is looked at closely."""


@dataclass(frozen=True, slots=True)
class TableFormat:
    """How files of rows are written.

    Attributes:
        encoding: of CSV, TSV and JSON files.
        delimiter: what separates columns; `auto`: what the first row shows.
        quoted: whether quotation marks around a field are no part of it; None: in CSV, not between tabs.
        header: whether the first row names the columns; else they are called column_1, column_2, ...
        sheet: of a workbook; None: the first.
        typed: whether numbers of a workbook stay numbers; else they are texts, as in CSV.
    """

    encoding: str
    delimiter: Delimiter
    quoted: bool | None
    header: bool
    sheet: str | None = None
    typed: bool = False


def delimited(lines: Lines, name: str, suffix: str, form: TableFormat, problems: Problems) -> Iterator[Row]:
    """The rows of CSV or TSV; a row that is none goes to `problems`, with every line that is lost with it.

    Args:
        suffix: `.tsv`, or another for CSV.

    Raises:
        RequestError: where there is no header, or one that cannot be used.
    """
    first = lines.peek()
    if not first:
        raise RequestError(f"{name}: has no header row; write the names of the columns into the first")
    csv.field_size_limit(_LONGEST)
    sign = _sign(first, name, suffix, form, problems)
    quoted = sign != "\t" if form.quoted is None else form.quoted
    # strict: a mark that is closed in the middle of a field is an error, and not a part of the text
    reader = (
        csv.reader(lines, delimiter=sign, strict=True)
        if quoted
        else csv.reader(lines, delimiter=sign, quoting=csv.QUOTE_NONE)
    )
    table = Table(name, sign, form, problems)
    number = 0
    while True:
        number, before = number + 1, reader.line_num
        try:
            found = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            remedy = "repair its quotes, or read them as letters (dataset.quoted=false)"
            table.lost(number, before, reader.line_num, f"it is no CSV ({error})", remedy)
            continue
        if not found:
            continue
        if quoted and form.quoted is None and table.hides_rows(found, number, before, reader.line_num):
            continue
        row = table.row(number, found)
        if row is not None:
            yield f"{name} row {number}", row
    table.say(quoted)


class Table:
    """One file's columns, and what is to be said of its rows."""

    def __init__(self, name: str, sign: str, form: TableFormat, problems: Problems) -> None:
        self.name, self.sign, self.form, self.problems = name, sign, form, problems
        self.header: list[str] | None = None
        self.spare = 0
        self.n_spare_rows = self.n_broken = self.n_marked = 0

    def row(self, number: int, found: list[str]) -> dict[str, str] | None:
        """The values by column; None for the header, and for what is no row."""
        if self.header is None:
            if self.form.header:
                self.header = self._named(found)
                return None
            self.header = [f"column_{place}" for place in range(1, len(found) + 1)]
        width = len(self.header)
        if len(found) > width and not any(field.strip() for field in found[width:]):
            # what a spreadsheet leaves at the right of the last column
            self.n_spare_rows += len(found) > width + self.spare
            found = found[:width]
        if len(found) != width:
            what = f"{len(found)} fields under {width} columns"
            remedy = "repair it, or name what separates columns (dataset.delimiter=semicolon)"
            self.problems.add(f"{self.name} row {number}", what, remedy)
            return None
        if self.sign == "\t":
            self.n_marked += any(len(f) > 1 and f[0] == f[-1] == '"' for f in found)
        return dict(zip(self.header, found, strict=True))

    def _named(self, found: Sequence[str]) -> list[str]:
        """The names of the columns, without those at the end that have none."""
        header = [field.strip() for field in found]
        if header.count("") > 1:
            while header and not header[-1]:
                header.pop()
            self.spare = len(found) - len(header)
            if self.spare:
                self.problems.remark(
                    f"{self.name}: {self.spare} columns at the end have no name and are left out"
                )
        twice = sorted({field for field in header if header.count(field) > 1})
        if twice:
            raise RequestError(
                f"{self.name}: column {twice[0]!r} is there twice; rename one of them, or set "
                "dataset.header=false where the first row is data"
            )
        return header

    def hides_rows(self, found: Sequence[str], number: int, before: int, after: int) -> bool:
        """Whether a mark that was opened by mistake swallowed rows; they go to `problems`.

        A text of several lines is told apart by its lines: those of swallowed rows have as many separators as
        rows have.
        """
        n_breaks, width = after - before - 1, len(self.header or found)
        if not n_breaks or width < 2:
            return False
        place, field = max(enumerate(found), key=lambda part: part[1].count("\n"))
        n_breaks = field.count("\n")
        first, *inner = field.split("\n")[:-1] or [""]
        rows = sum(line.count(self.sign) == width - 1 for line in inner)
        rows += first.count(self.sign) == width - 1 - place
        if n_breaks < _SEVERAL:  # two lines may well be a text with a comma
            self.n_broken += rows
            return False
        if 2 * rows < n_breaks:
            return False
        column = self.header[place] if self.header and place < len(self.header) else f"{place + 1}"
        what = f"column {column} is a quoted text of {n_breaks + 1} lines, {rows} of them look like rows"
        remedy = (
            "close its mark, read marks as letters (dataset.quoted=false) or keep it (dataset.quoted=true)"
        )
        self.lost(number, before, after, what, remedy)
        return True

    def lost(self, number: int, before: int, after: int, what: str, remedy: str) -> None:
        """One problem for each line that is lost, so that their count is that of lines."""
        self.problems.add(f"{self.name} row {number}", what, remedy)
        for line in range(before + 2, after + 1):
            self.problems.add(f"{self.name} line {line}", f"it is lost with row {number}", remedy)

    def say(self, quoted: bool) -> None:
        """What is to be known of rows that have been read."""
        if self.n_spare_rows:
            self.problems.remark(
                f"{self.name}: {self.n_spare_rows:,} rows end in empty fields beyond the columns; these are "
                "left out"
            )
        if self.n_broken and self.form.quoted is None:
            self.problems.remark(
                f"{self.name}: {self.n_broken:,} quoted texts hold a line break after separators, as where a "
                "mark was opened by mistake and a row is lost; dataset.quoted=false reads marks as letters"
            )
        if self.n_marked and not quoted and self.form.quoted is None:
            self.problems.remark(
                f"{self.name}: {self.n_marked:,} rows have a field between quotation marks, which are kept "
                "as letters; dataset.quoted=true takes them off"
            )


def _sign(first: str, name: str, suffix: str, form: TableFormat, problems: Problems) -> str:
    """What separates columns: what the file's name says, unless its first row shows another sign alone."""
    if form.delimiter != "auto":
        return SIGNS[form.delimiter]
    usual = "tab" if suffix == ".tsv" else "comma"
    n_fields = {word: n_columns(first, sign) for word, sign in SIGNS.items()}
    best = max(n_fields, key=lambda word: n_fields[word])
    if n_fields[usual] > 1 or n_fields[best] == 1:
        return SIGNS[usual]
    problems.remark(
        f"{name}: columns are separated by {best}, as its first row shows; "
        f"dataset.delimiter={usual} reads it otherwise"
    )
    return SIGNS[best]


def n_columns(line: str, sign: str) -> int:
    """Fields of one line."""
    return len(next(csv.reader([line], delimiter=sign), []))


def columns_of(line: str) -> list[str]:
    """Fields of one line by the sign that gives most of them."""
    sign = max(SIGNS.values(), key=lambda sign: n_columns(line, sign))
    return [field.strip() for field in next(csv.reader([line], delimiter=sign), [])]
