"""Rows of CSV, TSV, JSON, JSONL, Parquet and Excel files, one at a time, with the place of each.

Rows are counted as a spreadsheet does: the header is row 1. Nothing is ever written to these files.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from coldstart_cli.datasets.readers.delimited import Row, TableFormat, columns_of, delimited
from coldstart_cli.datasets.readers.lines import Lines, opened
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.spreadsheets import spreadsheet
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.regular import regular
from coldstart_cli.package import getting

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx")
_KINDS = "CSV, TSV, JSONL, JSON, Parquet or XLSX"
WORKBOOKS = (".xls", ".xlsm", ".ods", ".numbers")
_BESIDE = (".json", ".xlsx")
"""Tables of a folder only where it has no others."""
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""What stands for no value, in any case of letters."""
_LATIN_1 = codecs.lookup("latin-1").name
_CONTROLS = re.compile("[\x80-\x9f]")
"""What latin-1 reads where cp1252 has quotation marks, dashes and the sign of the euro."""


def files_of(root: str | None, problems: Problems | None = None) -> list[Path]:
    """The file, or the tables of a folder in alphabetical order.

    JSON files of a folder are its tables where it has no others, for many a folder describes itself in one;
    so are workbooks, from which the others may have been saved.

    Args:
        problems: where files that are left out are said.

    Raises:
        RequestError: where there is none.
    """
    if root is None:
        raise RequestError(f"dataset.root: no file is named; give dataset.root=FILE ({_KINDS})")
    path = Path(root).expanduser()
    if path.is_file():
        check_is_table(path)
        return [path]
    if not path.is_dir():
        raise RequestError(f"dataset.root: {path} is not there; name a {_KINDS} file (E10)")
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    files = [entry for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    tables = [file for file in files if file.suffix.lower() in SUFFIXES]
    found = [file for file in tables if file.suffix.lower() not in _BESIDE] or tables
    if not found:
        raise RequestError(f"dataset.root: {path} holds no {_KINDS} file; name one, or a folder that does")
    others = Counter(file.suffix.lower() or "no suffix" for file in files if file not in found)
    if others and problems is not None:
        kinds = ", ".join(f"{n} of {suffix}" for suffix, n in sorted(others.items()))
        problems.remark(f"{path}: {others.total()} files are no tables and are left out ({kinds})")
    return found


def check_is_table(path: Path, key: str = "dataset.root") -> None:
    """
    Args:
        key: that names the file.

    Raises:
        RequestError: where a file is none of rows by its name.
    """
    suffix = path.suffix.lower()
    if suffix in WORKBOOKS:
        raise RequestError(
            f"{path}: is a workbook, which is not read; save its sheet as .xlsx or CSV (UTF-8)"
        )
    if suffix not in SUFFIXES:
        raise RequestError(f"{key}: {path} is no {_KINDS} file by its name; name one that is")


def rows_of(path: Path, form: TableFormat, problems: Problems) -> Iterator[Row]:
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
    if path.suffix.lower() == ".xlsx":
        yield from spreadsheet(path, form, problems)
        return
    with opened(str(path), form.encoding) as lines:
        yield from rows_in(lines, path.name, path.suffix.lower(), form, problems)


def rows_in(lines: Lines, name: str, suffix: str, form: TableFormat, problems: Problems) -> Iterator[Row]:
    """The rows of an open text file; bytes that are not text must have come as lone surrogates.

    Raises:
        RequestError: where it as a whole cannot be read.
    """
    rows: Iterator[Row]
    if suffix == ".json":
        rows = _json(lines, name, problems)
    elif suffix in (".jsonl", ".ndjson"):
        rows = _jsonl(lines, name, problems)
    else:
        rows = delimited(lines, name, suffix, form, problems)
    is_latin_1, n_controls = codecs.lookup(form.encoding).name == _LATIN_1, 0
    try:
        for place, row in rows:
            wrong = next((key for key, value in row.items() if _broken(value)), None)
            if wrong is not None:
                what = f"column {wrong} {_what(row[wrong], form.encoding)}"
                remedy = f"repair it, or name its encoding (dataset.encoding={_encoding_of(row.values())})"
                problems.add(place, what, remedy)
                continue
            if is_latin_1:
                n_controls += any(isinstance(v, str) and _CONTROLS.search(v) for v in row.values())
            yield place, row
    except UnicodeError as error:
        raise RequestError(
            f"{name}: is not {form.encoding} ({error}); name its encoding (dataset.encoding) (E15)"
        ) from error
    if n_controls:
        problems.remark(
            f"{name}: {n_controls:,} rows hold control characters of latin-1, which are quotation marks and "
            "dashes in the encoding of Windows; read it by dataset.encoding=cp1252 (E15)"
        )


def kind_of(lines: Lines, column: str | None) -> str | None:
    """The suffix of the table that lines turn out to be, by the first of them; None for texts, one a line.

    Args:
        column: the one that is needed: its name in the first line makes this a header. None: no line is one.
    """
    first = lines.peek().strip().removeprefix("\ufeff")
    if first.startswith("{"):
        try:
            return ".jsonl" if isinstance(json.loads(first), dict) else None
        except (ValueError, RecursionError):
            return None
    if re.match(r"\[\s*(\{|$)", first):
        return ".json"
    return ".csv" if column in columns_of(first) else None


def check_columns(
    place: str, row: Mapping[str, Any], needed: Mapping[str, str | None], *, headless: bool = True
) -> None:
    """
    Args:
        needed: the option that names a column -> the column.
        headless: whether files without a header row can be read, which is said then.

    Raises:
        RequestError: where one is not there.
    """
    for option, column in needed.items():
        if column is not None and column not in row:
            file = place.rpartition(" row ")[0] or place
            lacks_header = file.lower().endswith((".csv", ".tsv")) and not any(
                c in row for c in needed.values()
            )
            remedy = suggestion(column, map(str, row))
            if headless and lacks_header:
                remedy += " (without a header row: dataset.header=false, columns column_1, column_2, ...)"
            raise RequestError(f"{file}: has no column {column!r} (dataset.{option}); {remedy} (E11)")


def text_of(value: object) -> str:
    """A cell as text: numbers as they are written, whole floats without a point, nothing as ''."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _jsonl(lines: Iterable[str], name: str, problems: Problems) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            problems.add(f"{name} row {number}", f"it is no JSON ({error})", "repair it")
            continue
        yield from _record(name, number, row, problems)


def _json(lines: Lines, name: str, problems: Problems) -> Iterator[Row]:
    """A list of objects; one object a line is read as well, under whatever name."""
    content = list(lines)
    try:
        found = json.loads("".join(content))
    except (ValueError, RecursionError) as error:
        if kind_of(Lines(content), None) != ".jsonl":
            what = " ".join(str(error).split())[:80]
            raise RequestError(f"{name}: is no JSON ({what}); repair it") from error
        problems.remark(f"{name}: is read as JSON Lines, an object a line; name it .jsonl")
        yield from _jsonl(content, name, problems)
        return
    if not isinstance(found, list):
        raise RequestError(f'{name}: is no list of JSON objects; write [{{"column": value}}, ...]')
    for number, row in enumerate(found, start=1):
        yield from _record(name, number, row, problems)


def _record(name: str, number: int, row: object, problems: Problems) -> Iterator[Row]:
    if isinstance(row, dict):
        yield f"{name} row {number}", row
    else:
        problems.add(f"{name} row {number}", "it is no JSON object", 'write {"column": value}')


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as arrow  # type: ignore[import-untyped,import-not-found,unused-ignore]
        from pyarrow import parquet
    except ImportError as error:
        raise RequestError(f"{path}: Parquet needs pyarrow; {getting('parquet')} (E50)") from error
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


def _encoding_of(values: Iterable[object]) -> str:
    """The likely encoding of values that are not UTF-8: bytes 0x80 to 0x9F are letters in cp1252 alone."""
    text = "".join(value for value in values if isinstance(value, str))
    return "cp1252" if any("\udc80" <= letter <= "\udc9f" for letter in text) else "latin-1"
