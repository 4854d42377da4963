"""Texts without labels, of files, standard input and memory, read for torch or for another runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from coldstart_cli.datasets.own.raw import Raw
from coldstart_cli.datasets.readers.delimited import EARLIER, Delimiter, TableFormat
from coldstart_cli.datasets.readers.lines import STDIN, Lines, opened
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import (
    SUFFIXES,
    WORKBOOKS,
    check_columns,
    files_of,
    kind_of,
    rows_in,
    rows_of,
)


class ReadsTexts(Protocol):
    """What makes inputs of texts, such as a `Preprocess`."""

    def texts(self, texts: Sequence[str], /) -> Any:
        """Inputs of n examples."""

    def cut(self, texts: Sequence[str], /) -> tuple[int, int]:
        """How many texts are longer than is read, and a length that is enough for them; or (0, 0)."""


@dataclass(frozen=True, slots=True)
class TextRecipe:
    """Which columns hold what; task and split may be None."""

    text_column: str
    label_column: str
    task_column: str | None
    split_column: str | None
    encoding: str
    delimiter: Delimiter
    quoted: bool | None
    header: bool
    group_column: str | None = None  # recipes that were written earlier do not name one, nor a sheet
    sheet: str | None = None
    labelled: tuple[str, ...] = ()  # tables to be filled in; never kept

    def as_json(self) -> dict[str, Any]:
        known = {"layout": "text", **asdict(self)}
        del known["labelled"]
        return known

    @staticmethod
    def from_json(recipe: Mapping[str, Any]) -> TextRecipe:
        known = {**EARLIER, **recipe, "labelled": tuple(recipe.get("labelled", ()))}
        return TextRecipe(**{name: value for name, value in known.items() if name != "layout"})

    @property
    def form(self) -> TableFormat:
        """How its files are written."""
        return TableFormat(self.encoding, self.delimiter, self.quoted, self.header, self.sheet)


Line = tuple[str, object, Mapping[str, Any]]
"""Where a text was read, the text, and the row it stands in."""


def raw_texts(
    preprocess: ReadsTexts, path: str, recipe: TextRecipe, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """Texts without labels, `chunk` at a time; from standard input no fewer than what waits.

    Args:
        path: a table with the text column; any other file, or `-` for standard input: a table by its first
            line, or one text a line.

    Raises:
        RequestError: naming file and row.
    """
    return raw_lines(preprocess, _raw(path, recipe, problems), problems=problems, chunk=chunk)


def raw_lines(
    preprocess: ReadsTexts, lines: Iterable[Line | None], *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """The same for texts that have been read, or lie in memory, each with its place.

    Args:
        lines: None where the next may take a while, so that those before it are answered now.
    """
    texts: list[str] = []
    places: list[str] = []
    rows: list[Mapping[str, Any]] = []

    def made() -> Raw:
        count_cut(preprocess, texts, problems)
        return Raw(preprocess.texts(texts), tuple(places), tuple(rows))

    for line in lines:
        if line is not None:
            place, value, row = line
            if not isinstance(value, str) or not value.strip():
                problems.add(place, "it has no text", "write one")
                continue
            texts.append(value)
            places.append(place)
            rows.append(row)
        if texts and (line is None or len(texts) == chunk):
            yield made()
            texts, places, rows = [], [], []
    if texts:
        yield made()


def count_cut(preprocess: ReadsTexts, texts: Sequence[str], problems: Problems) -> None:
    """Tells how many texts are longer than the model reads."""
    problems.cut(len(texts), *preprocess.cut(texts))


def _raw(path: str, recipe: TextRecipe, problems: Problems) -> Iterator[Line | None]:
    column, known = recipe.text_column, Path(path).expanduser()
    if known.is_dir() or known.suffix.lower() in (*SUFFIXES, *WORKBOOKS):
        for file in files_of(str(known), problems):
            for place, row in rows_of(file, recipe.form, problems):
                check_columns(place, row, {"text_column": column})
                yield place, row[column], row
        return
    name = "standard input" if path == STDIN else known.name
    with opened(path if path == STDIN else str(known), recipe.encoding) as lines:
        kind = kind_of(lines, column if recipe.header else None)
        if kind is not None:
            problems.remark(
                f"{name}: is read as {_TABLES[kind]}, as its first line shows, not as a text a line"
            )
            for place, row in rows_in(lines, name, kind, recipe.form, problems):
                check_columns(place, row, {"text_column": column})
                yield place, row[column], row
                if lines.idle():
                    yield None
            return
        yield from _texts(lines, name, recipe.encoding, problems)


_TABLES = {".csv": "a table with a header", ".jsonl": "JSON objects", ".json": "a list of JSON objects"}


def _texts(lines: Lines, name: str, encoding: str, problems: Problems) -> Iterator[Line | None]:
    """One text a line; a blank line is none, and is counted as a row and told."""
    n_blank = 0
    for number, line in enumerate(lines, start=1):
        place = f"{name} row {number}"
        if any("\ud800" <= letter <= "\udfff" for letter in line):
            problems.add(place, f"it is not {encoding}", "name its encoding")
        elif "\0" in line:  # a file of another kind: a document, a picture
            problems.add(place, "it holds a character that no text has", "name a file of texts, one a line")
        elif line.strip():
            yield place, line.rstrip("\r\n"), {}
        else:
            n_blank += 1
        if lines.idle():
            yield None
    if n_blank:
        problems.remark(f"{name}: {n_blank:,} blank lines have no answer; the others keep their row numbers")
