"""Rows of CSV, TSV, JSONL and Parquet files, one at a time, with the place of each.

Rows are counted as a spreadsheet does: the header is row 1. Nothing is ever written to these files.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.regular import opened, regular

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
STDIN = "-"
_ENDS_OF_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LONGEST = 1 << 24
"""Characters of one field; the csv module's own limit is 131,072."""

Row = tuple[str, Mapping[str, Any]]
"""The place (`intents.csv row 3`) and the values by column."""


def files_of(root: str | None) -> list[Path]:
    """The file, or the tables of a folder in alphabetical order.

    Raises:
        RequestError: where there is none.
    """
    kinds = "CSV, TSV, JSONL or Parquet"
    if root is None:
        raise RequestError(f"dataset.root: no file is named; give dataset.root=FILE ({kinds})")
    path = Path(root).expanduser()
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise RequestError(f"dataset.root: {path} is no {kinds} file by its name; name one that is")
        return [path]
    if not path.is_dir():
        raise RequestError(f"dataset.root: {path} is not there; name a {kinds} file")
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    found = [p for p in entries if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise RequestError(f"dataset.root: {path} holds no {kinds} file; name one, or a folder that does")
    return found


def rows_of(path: Path, encoding: str, problems: Problems) -> Iterator[Row]:
    """The rows of one file; a row that is none goes to `problems`.

    Raises:
        RequestError: where the file as a whole cannot be read.
    """
    try:
        empty = regular(path).stat().st_size == 0
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if empty:
        raise RequestError(f"{path}: is empty (0 bytes); name a file with rows")
    if path.suffix.lower() == ".parquet":
        yield from _parquet(path)
        return
    with _opened(path, encoding) as stream:
        yield from rows_in(stream, path.name, path.suffix.lower(), encoding, problems)


def rows_in(stream: IO[str], name: str, suffix: str, encoding: str, problems: Problems) -> Iterator[Row]:
    """The rows of an open text file; bytes that are not text must have come as lone surrogates."""
    read = _jsonl if suffix in (".jsonl", ".ndjson") else _csv
    delimiter = "\t" if suffix == ".tsv" else ","
    try:
        for place, row in read(stream, name, delimiter, problems):
            wrong = next((key for key, value in row.items() if _broken(value)), None)
            if wrong is None:
                yield place, row
            else:
                problems.add(
                    place,
                    f"column {wrong} {_what(row[wrong], encoding)}",
                    "repair it, or name its encoding (dataset.encoding=latin-1)",
                )
    except UnicodeError as error:
        raise RequestError(
            f"{name}: is not {encoding} ({error}); name its encoding (dataset.encoding)"
        ) from error


def check_columns(place: str, row: Mapping[str, Any], needed: Mapping[str, str | None]) -> None:
    """
    Args:
        needed: the option that names a column -> the column.

    Raises:
        RequestError: where one is not there.
    """
    for option, column in needed.items():
        if column is not None and column not in row:
            file = place.rpartition(" row ")[0] or place
            raise RequestError(
                f"{file}: has no column {column!r} (dataset.{option}); {suggestion(column, map(str, row))}"
            )


def text_of(value: object) -> str:
    """A cell as text: numbers as they are written, whole floats without a point, nothing as ''."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


@contextlib.contextmanager
def stream_of(path: str, encoding: str) -> Iterator[IO[str]]:
    """The file, or standard input for `-`, as text whose broken bytes are lone surrogates."""
    if path == STDIN:
        sys.stdin.reconfigure(encoding=_plain(encoding), errors="surrogateescape")  # type: ignore[union-attr]
        yield sys.stdin
        return
    with _opened(Path(path), encoding) as stream:
        yield stream


@contextlib.contextmanager
def _opened(path: Path, encoding: str) -> Iterator[IO[str]]:
    try:
        with opened(path) as raw:
            start = raw.read(2)
        if start in _ENDS_OF_UTF16 and _plain(encoding) == "utf-8-sig":
            raise RequestError(f"{path}: is UTF-16; say so with dataset.encoding=utf-16")
        with path.open(encoding=_plain(encoding), errors="surrogateescape", newline="") as stream:
            yield stream
    except LookupError as error:
        raise RequestError(
            f"dataset.encoding: {encoding} is not an encoding; write utf-8 or latin-1"
        ) from error
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _plain(encoding: str) -> str:
    """UTF-8 with or without a byte order mark."""
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def _csv(stream: Iterable[str], name: str, delimiter: str, problems: Problems) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST)
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    number, header = 0, None
    while True:
        number += 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            problems.add(f"{name} row {number}", f"it is no CSV ({error})", "repair its quotes")
            continue
        if header is None:
            header = _header(name, fields)
        elif fields and len(fields) != len(header):
            what = f"{len(fields)} fields under {len(header)} columns"
            problems.add(f"{name} row {number}", what, "repair it")
        elif fields:
            yield f"{name} row {number}", dict(zip(header, fields, strict=True))
    if header is None:
        raise RequestError(f"{name}: has no header row; write the names of the columns into the first")


def _header(name: str, fields: Sequence[str]) -> list[str]:
    header = [field.strip() for field in fields]
    twice = sorted({field for field in header if header.count(field) > 1})
    if twice:
        raise RequestError(f"{name}: column {twice[0]!r} is there twice; rename one of them")
    return header


def _jsonl(stream: Iterable[str], name: str, delimiter: str, problems: Problems) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.add(f"{name} row {number}", f"it is no JSON ({error})", "repair it")
            continue
        if isinstance(row, dict):
            yield f"{name} row {number}", row
        else:
            problems.add(f"{name} row {number}", "it is no JSON object", 'write {"column": value}')


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as arrow  # type: ignore[import-untyped,import-not-found,unused-ignore]
        from pyarrow import parquet
    except ImportError as error:
        raise RequestError(f"{path}: Parquet needs pyarrow; pip install 'coldstart-cli[parquet]'") from error
    number = 1
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name} row {number}", row
    except (arrow.ArrowException, OSError, UnicodeError) as error:
        what = " ".join(str(error).split())[:120]
        raise RequestError(f"{path}: is no Parquet file ({what}); write it anew") from error


def _broken(value: object) -> bool:
    return isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value)


def _what(value: str, encoding: str) -> str:
    """Names the first byte that is not a text."""
    place, code = next((i, ord(c)) for i, c in enumerate(value) if "\ud800" <= c <= "\udfff")
    if 0xDC80 <= code <= 0xDCFF:
        return f"is not {encoding} (byte 0x{code - 0xDC00:02X} at character {place + 1})"
    return f"holds half a character (\\u{code:04x} at character {place + 1})"
