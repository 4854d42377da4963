"""Tables of further labelled examples, as `label-next` writes them and a person fills them in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from coldstart_cli.datasets.readers.delimited import Row
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import check_is_table, text_of
from coldstart_cli.errors import RequestError


def further(labelled: Sequence[str]) -> list[Path]:
    """The tables that `dataset.labelled` names.

    Raises:
        RequestError: where one is not there, or no table by its name.
    """
    found = [Path(name).expanduser() for name in labelled]
    for path in found:
        if not path.is_file():
            raise RequestError(f"dataset.labelled: {path} is not there; name a table of labels (E10)")
        check_is_table(path, "dataset.labelled")
    return found


def having_label(rows: Iterable[Row], path: Path, column: str, problems: Problems) -> Iterator[Row]:
    """Rows without those whose label is still empty, which are counted.

    Args:
        rows: of the table at `path`.
        column: of the label or target.
    """
    n = empty = 0
    for place, row in rows:
        n += 1
        if column in row and not text_of(row[column]):
            empty += 1
        else:
            yield place, row
    if empty:
        problems.remark(
            f"{path.name}: {empty:,} of {n:,} rows have no label yet and are left out; fill in {column}"
        )
