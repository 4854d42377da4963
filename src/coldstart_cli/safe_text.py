"""Text of others, such as names in a file, made safe: no terminal, page or spreadsheet obeys any of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

FORMULAS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
"""What begins a formula, and the full-width forms that some spreadsheets take for it."""


def printable(text: str, kept: str = "") -> str:
    r"""The same text with every character that a terminal would obey, or not show, as its escape: `\x1b`.

    Args:
        kept: characters that stay nevertheless.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def csv_cell(value: object) -> object:
    """OWASP's rule for CSV: a cell must not begin with what starts a formula."""
    if value is None or isinstance(value, int | float):
        return value
    text = printable(str(value))
    return f"'{text}" if text.lstrip().startswith(FORMULAS) else text


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal keys as CSV with a header line; text that a spreadsheet would run is quoted by '."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([[csv_cell(value) for value in row.values()] for row in rows])
    return out.getvalue()
