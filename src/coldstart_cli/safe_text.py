"""Text from elsewhere, such as names in a file, made safe to show in a terminal, a page or a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

FORMULAS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
"""Characters that begin a formula, and their full-width forms, which some spreadsheets treat alike."""


def printable(text: str, kept: str = "") -> str:
    r"""The text with characters that a terminal would act on, or not show, as escapes such as `\x1b`.

    Args:
        kept: characters to leave as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def csv_cell(value: object) -> object:
    """OWASP's rule for CSV: a cell must not begin with what starts a formula."""
    if value is None or isinstance(value, int | float):
        return value
    # Numbers stay numbers: a negative one begins with a sign but is not a formula.
    text = printable(str(value))
    # Blanks in front do not help: spreadsheets skip them before they look for a formula.
    return f"'{text}" if text.lstrip().startswith(FORMULAS) else text


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal keys as CSV with a header line; a text that a spreadsheet would run gets a ' in front."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([[csv_cell(value) for value in row.values()] for row in rows])
    return out.getvalue()
