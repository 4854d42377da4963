"""Columns of a table that say something of its rows and nothing of what they describe.

An index, a row number or a copy of the label makes a predictor look perfect on the rows that are there, and
is worth nothing for a new one. Whether a column is one its values do not prove, so it is named and stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.datasets.own.columns import ABSENT, NUMBER, Cells, constant

_ENOUGH = 8
"""Rows beyond the different values of a column from which on chance does not explain what is seen: of two
equally frequent labels a random column of v values decides all of n rows with probability 2 ** (v - n)."""
_NAMED = 6


def suspicions(columns: Mapping[str, Cells], labels: Sequence[str], n_files: int) -> list[str]:
    """A line for each kind: columns without a name, row numbers, copies of the label, names, constants.

    Args:
        columns: the features, each of n values.
        labels: (n,), or empty for a regression.
        n_files: the rows were read from so many files; an index starts anew in each.
    """
    numbers = np.unique(np.array(labels), return_inverse=True)[1] if len(labels) else None
    found: dict[str, list[str]] = {
        "no name, like an index that was written with the table": [],
        "rises from row to row, like a row number": [],
        "each of its values stands beside one label alone": [],
        "nearly every row has a word of its own, like a name, a date or a number written otherwise": [],
    }
    nameless, counting, deciding, naming = found.values()
    n_rows = _distinct_rows(columns)
    for name, cells in columns.items():
        if not name or name.startswith("Unnamed:"):  # the second is what pandas calls the first
            nameless.append(name)
        elif _counts(cells, n_files):
            counting.append(name)
        elif _names(cells):
            naming.append(name)
        elif numbers is not None and _decides(cells, numbers, n_rows):
            deciding.append(name)
    lines = []
    for what, names in found.items():
        words = ",".join(name or "''" for name in names[:_NAMED])
        ignore, keep = (f"dataset.{key}=[{words}]" for key in ("ignore", "keep"))
        if "'" in words:  # which a shell would take away
            ignore, keep = f'"{ignore}"', f'"{keep}"'
        if names:
            lines.append(
                f"dataset.ignore: column {_shown(names)}: {what}; leave it out ({ignore}), or say that it is "
                f"a feature ({keep})"
            )
    same = [name for name in constant(columns) if name]
    if same:
        lines.append(f"dataset: column {_shown(same)} has one value in all rows and tells nothing")
    return lines


def _counts(cells: Cells, n_files: int) -> bool:
    """Whether numbers rise from each row to the next, but where another file may begin."""
    values, kinds = cells.arrays()
    if len(values) < _ENOUGH or not (kinds == NUMBER).all():
        return False
    return int((np.diff(values) <= 0).sum()) < n_files


def _names(cells: Cells) -> bool:
    """Whether most rows have a word that no other has: it is a category that tells nothing of a new row."""
    return not cells.is_numeric and len(cells) >= _ENOUGH and len(cells.words) > len(cells) / 2


def _distinct_rows(columns: Mapping[str, Cells]) -> int:
    """How many rows differ in some column: a row that is there twice is no second evidence."""
    parts = [part for cells in columns.values() for part in cells.arrays()]
    return len(np.unique(np.stack(parts).astype(np.float64), axis=1).T) if parts else 0


def _decides(cells: Cells, labels: NDArray[np.intp], n_rows: int) -> bool:
    """Whether each value of a column stands beside one label alone, by more rows than chance explains.

    n_rows: different ones.
    """
    values, kinds = cells.arrays()
    if (kinds == ABSENT).any() or labels.max(initial=0) == 0:
        return False
    distinct, value = np.unique(np.stack([values, kinds.astype(np.float64)]), axis=1, return_inverse=True)
    n_values = distinct.shape[1]
    if n_values < 2 or n_rows - n_values < _ENOUGH:
        return False
    pairs = np.unique(value.reshape(-1).astype(np.int64) * (int(labels.max()) + 1) + labels)
    return bool(len(pairs) == n_values)


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(name or "''" for name in names[:_NAMED]) + more
