"""Rows of a sheet of an .xlsx workbook; no formula is computed, and no macro or link is followed.

Cells of formulas have the results that the file keeps. Its parts are measured before any is parsed, so that a
file that unfolds without end is refused, and so is one that declares entities of its own.
"""

from __future__ import annotations

import datetime
import re
import warnings
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coldstart_cli.datasets.readers.delimited import Row, Table, TableFormat
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.zips import HIGHEST_RATIO, opened
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.package import getting

LARGEST_SHEETS = 1 << 30
"""Unpacked bytes of all sheets, which are read a row at a time."""
LARGEST_OTHERS = 256 << 20
"""Unpacked bytes of all else that is parsed, most of it texts, which are held at once."""
MOST_ROWS = 1 << 20
"""Of a sheet, by its format; a file may number them as it likes, and those in between would be waited for."""
MOST_CELLS = 200_000_000
"""Of a sheet, those without a value that stand before one that has one among them."""
_SMALL = 1 << 20
"""Bytes up to which a part may be packed as densely as it likes."""
_CHUNK = 1 << 20
_SHEETS = re.compile(r"xl/worksheets/[^/]*\.xml")
_FORMULA = re.compile(rb"<(?:\w+:)?f[ >/]")
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, ElementTree.ParseError, ArithmeticError, AttributeError, EOFError,
    IndexError, KeyError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What openpyxl and what it stands on raise at files that are no workbooks."""
_MIDNIGHT = datetime.time()


def spreadsheet(path: Path, form: TableFormat, problems: Problems) -> Iterator[Row]:
    """The rows of one sheet, counted as the sheet does; rows without a value are passed over.

    Raises:
        RequestError: where openpyxl is not installed, the file is no workbook or unfolds beyond all bounds,
            or the sheet is not there.
    """
    try:
        import openpyxl  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as error:
        raise RequestError(
            f"{path}: is a workbook, which is not read without openpyxl; "
            f"{getting('spreadsheet')}, or save its sheet as CSV (UTF-8) (E50)"
        ) from error
    try:
        has_formulas = _measured(path)
        with warnings.catch_warnings():  # of styles and extensions, which hold no value
            warnings.simplefilter("ignore")
            books = [openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)]
            if has_formulas:
                books.append(openpyxl.load_workbook(path, read_only=True, keep_links=False))
        try:
            name = _sheet_of(books[0], path, form, problems)
            yield from _rows(path.name, [book[name] for book in books], form, problems)
        finally:
            for book in books:
                book.close()
    except _DAMAGED as error:
        what = " ".join(str(error).split())[:120]
        raise RequestError(
            f"{path}: is no workbook that can be read ({what}); save it anew without a password, or its "
            "sheet as CSV (UTF-8)"
        ) from error


def _measured(path: Path) -> bool:
    """Whether any sheet has a formula, once all parts are known to be of a bearable size.

    Raises:
        zipfile.BadZipFile: where they are not.
    """
    sizes, has_formulas = {True: 0, False: 0}, False
    with opened(path) as archive:
        parts = [part for part in archive.infolist() if part.filename.endswith((".xml", ".rels"))]
        for part in parts:  # no more is unpacked than a part says
            of_sheet = _SHEETS.fullmatch(part.filename) is not None
            sizes[of_sheet] += part.file_size
            if part.file_size > max(_SMALL, HIGHEST_RATIO * part.compress_size):
                ratio = part.file_size // max(1, part.compress_size)
                raise zipfile.BadZipFile(f"{part.filename} is packed 1 to {ratio:,}")
            if sizes[of_sheet] > (LARGEST_SHEETS if of_sheet else LARGEST_OTHERS):
                raise zipfile.BadZipFile(f"it unfolds to more than {sizes[of_sheet]:,} bytes")
        for part in parts:
            before = b""
            with archive.open(part) as stream:
                while chunk := stream.read(_CHUNK):
                    found = before + chunk
                    # Zero bytes, as in UTF-16, would hide what is looked for
                    if b"<!DOCTYPE" in found or b"<!ENTITY" in found or b"\0" in found:
                        raise zipfile.BadZipFile(f"{part.filename} declares what no spreadsheet needs")
                    if _SHEETS.fullmatch(part.filename):
                        has_formulas = has_formulas or _FORMULA.search(found) is not None
                    before = chunk[-32:]
    return has_formulas


def _sheet_of(book: Any, path: Path, form: TableFormat, problems: Problems) -> str:
    """The name of the sheet that is asked for, or of the first that is shown; what else there is is said."""
    sheets = [sheet.title for sheet in book.worksheets]
    shown = [sheet.title for sheet in book.worksheets if sheet.sheet_state == "visible"] or sheets
    if not sheets:
        raise RequestError(f"{path}: holds no sheet of cells; save the table as CSV (UTF-8)")
    if form.sheet is None or form.sheet in sheets:
        name = form.sheet or shown[0]
        if form.sheet is None and len(sheets) > 1:
            others = ", ".join(sheet for sheet in sheets if sheet != name)
            problems.remark(
                f"{path.name}: sheet {name} is read, of {len(sheets)} (not {others}); "
                "dataset.sheet=NAME reads another"
            )
        return str(name)
    if len(sheets) > 1:
        raise RequestError(
            f"{path}: has no sheet {form.sheet!r} (dataset.sheet); {suggestion(form.sheet, sheets)}"
        )
    problems.remark(f"{path.name}: has no sheet {form.sheet}; its only one, {sheets[0]}, is read")
    return str(sheets[0])


def _rows(name: str, sheets: list[Any], form: TableFormat, problems: Problems) -> Iterator[Row]:
    """The rows of a sheet.

    Args:
        sheets: the sheet with the results of its formulas; where it has any, the same with the formulas.
    """
    for sheet in sheets:
        sheet.reset_dimensions()  # a file says of them what it likes
    table = Table(name, ",", form, problems)
    n_errors = n_unknown = n_empty = n_waiting = 0
    for number, cells, formulas in _cells(sheets):
        errors = [cell.data_type == "e" for cell in cells]
        values = ["" if wrong else _value(cell.value) for cell, wrong in zip(cells, errors, strict=True)]
        kept = zip(formulas, cells, strict=False)  # an empty text that a formula gives has a type of its own
        n_unknown += sum(f.data_type == "f" and c.value is None and c.data_type == "n" for f, c in kept)
        n_errors += sum(errors)
        if all(value == "" for value in values):
            n_waiting += table.header is not None
            continue
        while values[-1] == "" and (
            form.header or table.header
        ):  # an unnamed table is as wide as its first row
            values.pop()
        n_empty, n_waiting = n_empty + n_waiting, 0
        values += [""] * (len(table.header or ()) - len(values))
        row = table.row(number, [_text(value) for value in values])
        if row is not None:
            yield f"{name} row {number}", dict(zip(row, values, strict=False)) if form.typed else row
    if table.header is None:
        raise RequestError(f"{name}: its sheet holds no row; write the names of the columns into the first")
    said = {
        f"{n_unknown:,} formulas have no result in the file and are read as empty; open it in a program of "
        "spreadsheets and save it": n_unknown,
        f"{n_errors:,} cells hold an error (such as #N/A) and are read as empty": n_errors,
        f"{n_empty:,} rows between others have no value and are passed over": n_empty,
    }
    for line, n in said.items():
        if n:
            problems.remark(f"{name}: {line}")


def _cells(sheets: list[Any]) -> Iterator[tuple[int, Any, Any]]:
    """The number of each row, its cells, and the same with formulas, or none where there are none."""
    rows = zip(*(sheet.iter_rows() for sheet in sheets), strict=True)
    number = n_cells = 0
    while True:
        with warnings.catch_warnings():  # of dates that no calendar has, which come as errors
            warnings.simplefilter("ignore")
            found = next(rows, None)
        if found is None:
            return
        number, n_cells = number + 1, n_cells + len(found[0])
        if number > MOST_ROWS or n_cells > MOST_CELLS:
            raise zipfile.BadZipFile(f"its sheet has more than {MOST_ROWS:,} rows or {MOST_CELLS:,} cells")
        yield number, found[0], found[-1] if len(found) > 1 else ()


def _value(value: object) -> object:
    """A cell as a table has it: a text, a number, or '' for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()  # as CSV is exported
    if isinstance(value, int | float):
        return value
    if isinstance(value, datetime.datetime):
        day = value.time() == _MIDNIGHT
        return value.date().isoformat() if day else value.isoformat(" ", timespec="seconds")
    return str(value).strip()


def _text(value: object) -> str:
    """A value as a cell of CSV."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
