"""Tables of one's own: CSV, TSV, JSONL or Parquet with a column of labels, or of reals to predict.

Every other column is a feature (see `columns`). A network sees the target as (value - mean) / deviation;
metrics and predictions are in its own unit. Means, deviations and categories are those of the rows of the
source's training split, so that nothing of a new task is known before it comes; where there is no such split,
as for one table to adapt to, they are those of all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Unpack

import numpy as np
import torch
from annotated_types import Ge

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own.columns import (
    bad_rows,
    cells_for,
    check_numbers,
    check_words,
    encoded,
    fitted,
)
from coldstart_cli.datasets.own.labelled import Labelled, Raw
from coldstart_cli.datasets.own.shared import OwnData, plan_of
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan, fitted_rows
from coldstart_cli.datasets.own.stated_splits import stated_files
from coldstart_cli.datasets.own.table_rows import TableRecipe, TableRows, target_scale
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.datasets.readers.tables import (
    STDIN,
    Row,
    check_columns,
    files_of,
    rows_in,
    rows_of,
    stream_of,
)
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess


def tabular(
    preprocess: Preprocess,
    *,
    label_column: str | None,
    target_column: str | None,
    task_column: str | None,
    split_column: str | None,
    ignore: list[str],
    categories: list[str],
    max_categories: Annotated[int, Ge(2)],
    encoding: str,
    **own: Unpack[OwnData],
) -> Own:
    """Rows of your own tables as tasks.

    Args:
        preprocess: the model's.
        label_column: of the class.
        target_column: of the real to predict, in place of a label; or None.
        task_column, split_column: names of columns, or None.
        ignore: columns that are no features.
        categories: columns whose numbers are names of categories.
        max_categories: different values of a category, at most.
        encoding: of the files.
        own: see `OwnData`.

    Raises:
        RequestError: naming file and row.
    """
    plan = plan_of(own)
    recipe = TableRecipe(
        label_column,
        target_column,
        task_column,
        split_column,
        tuple(ignore),
        tuple(categories),
        max_categories,
        encoding,
        None,
        None,
    )
    labelled = read_table(
        preprocess, own["root"], recipe, plan, unlabelled=own["unlabelled"], on_bad=own["on_bad"]
    )
    return Own("tabular", labelled, plan)


def read_table(
    preprocess: Preprocess,
    root: str | None,
    recipe: TableRecipe,
    plan: Plan | None,
    *,
    unlabelled: str | None,
    on_bad: OnBad,
) -> Labelled:
    """All rows with their labels or targets.

    Args:
        recipe: with `columns`, features are made as it says; without, they are fitted: to the training rows
            of the plan where it leaves any; for one task (no plan) to those that the files call train; else
            to all rows.

    Raises:
        RequestError: naming file and row.
    """
    problems = Problems(on_bad)
    table = TableRows(recipe)
    by_name = False
    for path, split in stated_files(root):
        for place, row in rows_of(path, recipe.encoding, problems):
            table.add(place, row, problems)
        if split is not None and recipe.split_column is None:
            by_name = True
            table.splits += [split] * (len(table.places) - len(table.splits))
    good = ~bad_rows(table.cells, table.places, problems)
    problems.warn(str(root))
    marked = table.marks(good, root, by_name=by_name)
    if recipe.columns is None:
        ids = fitted_rows(marked, plan)
        columns = fitted(table.cells, np.flatnonzero(good)[ids], recipe.max_categories)
        if not columns:
            raise RequestError(f"dataset.root: {root} has no column of features; ignore fewer")
        scale = None if marked.classes else target_scale(marked.targets[torch.from_numpy(ids)])
        recipe = replace(recipe, columns=tuple(columns), target_scale=scale)
    assert recipe.columns is not None
    if not marked.classes:
        marked = marked.scaled(*(recipe.target_scale or (0.0, 1.0)))
    features = encoded(recipe.columns, table.cells)
    inputs = preprocess.vectors(torch.from_numpy(features if good.all() else features[good]))
    free = None if unlabelled is None else _unlabelled(preprocess, unlabelled, recipe, problems)
    return marked.labelled(inputs, free, problems.skipped, recipe.as_json())


def raw_table(
    preprocess: Preprocess, path: str, recipe: TableRecipe, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """Rows without labels, `chunk` at a time; `-` is CSV from standard input.

    Raises:
        RequestError: naming file and row, or a column that is not there.
    """
    return raw_rows(preprocess, _raw(path, recipe, problems), recipe, problems=problems, chunk=chunk)


def raw_rows(
    preprocess: Preprocess, rows: Iterable[Row], recipe: TableRecipe, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """The same for rows that have been read, or lie in memory."""
    assert recipe.columns is not None
    names = {f"columns[{i}]": column["name"] for i, column in enumerate(recipe.columns)}
    cells, places = cells_for(recipe.columns), list[str]()
    for place, row in rows:
        check_columns(place, row, names)
        wrong = next(check_numbers(recipe.columns, row), None)
        if wrong is not None:
            problems.add(place, wrong, "repair it")
            continue
        for what, remedy in check_words(recipe.columns, row):
            problems.unfamiliar(place, what, remedy)
        places.append(place)
        for name, own in cells.items():
            own.add(row[name])
        if len(places) == chunk:
            yield Raw(preprocess.vectors(torch.from_numpy(encoded(recipe.columns, cells))), tuple(places))
            cells, places = cells_for(recipe.columns), []
    if places:
        yield Raw(preprocess.vectors(torch.from_numpy(encoded(recipe.columns, cells))), tuple(places))


def _raw(path: str, recipe: TableRecipe, problems: Problems) -> Iterator[Row]:
    if path == STDIN:
        with stream_of(path, recipe.encoding) as stream:
            yield from rows_in(stream, "standard input", ".csv", recipe.encoding, problems)
        return
    for file in files_of(path):
        yield from rows_of(file, recipe.encoding, problems)


def _unlabelled(preprocess: Preprocess, path: str, recipe: TableRecipe, problems: Problems) -> Inputs | None:
    found = list(raw_table(preprocess, path, recipe, problems=problems, chunk=1 << 30))
    return found[0].inputs if found else None
