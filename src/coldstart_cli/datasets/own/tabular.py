"""Tables of one's own: CSV, TSV, JSONL or Parquet with a column of labels, or of reals to predict.

Every other column is a feature (see `columns`). A network sees the target as (value - mean) / deviation;
metrics and predictions are in its own unit. Means, deviations and categories are those of the rows of the
source's training split, so that nothing of a new task is known before it comes; where there is no such split,
as for one table to adapt to, they are those of all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt

from coldstart_cli.core.tasks import Inputs, TaskShape
from coldstart_cli.datasets.own.columns import (
    bad_rows,
    cells_for,
    check_numbers,
    check_words,
    encoded,
    fitted,
)
from coldstart_cli.datasets.own.labelled import Labelled, Raw
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan, SplitBy, share_out
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
    bank_seed: Annotated[int, Ge(0)],
    n_way: Annotated[int, Ge(2)] | None,
    k_shot: Annotated[int, Ge(0)],
    n_query: Annotated[int, Ge(1)],
    n_unlabelled: Annotated[int, Ge(0)],
    unequal: bool,
    root: str | None,
    unlabelled: str | None,
    label_column: str | None,
    target_column: str | None,
    task_column: str | None,
    split_column: str | None,
    ignore: list[str],
    categories: list[str],
    max_categories: Annotated[int, Ge(2)],
    encoding: str,
    split_by: SplitBy,
    split_seed: Annotated[int, Ge(0)],
    validation_share: Annotated[float, Ge(0), Lt(1)],
    new_share: Annotated[float, Ge(0), Lt(1)],
    held_out_share: Annotated[float, Ge(0), Lt(1)],
    min_examples: Annotated[int, Ge(2)] | None,
    on_bad: OnBad,
) -> Own:
    """Rows of one's own tables as tasks.

    Args:
        preprocess: the model's.
        bank_seed: determines the tasks, not the data.
        n_way: classes of a task; None: all that every split has; of no use to a regression.
        k_shot: support examples a class (regression: a task).
        n_query: query examples a class (regression: a task), fewer of those that have not as many.
        n_unlabelled: unlabelled examples a class (regression: a task).
        unequal: n_way and k_shot are the most that a task and a class may have, not what all have.
        root: a file, or a folder of files with the same columns.
        unlabelled: a file of rows without labels, for `adapt`; or None.
        label_column: of the class.
        target_column: of the real to predict, in place of a label; or None.
        task_column, split_column: names of columns, or None.
        ignore: columns that are no features.
        categories: columns whose numbers are names of categories.
        max_categories: different values of a category, at most.
        encoding: of the files.
        split_by, split_seed, validation_share, new_share, held_out_share, min_examples: see `sharing.Plan`.
        on_bad: `stop` at the first row that cannot be read, or `skip` them.

    Raises:
        RequestError: naming file and row.
    """
    shape = TaskShape(n_way, k_shot, n_query, n_unlabelled)
    shares = (validation_share, new_share, held_out_share)
    plan = Plan(shape, bank_seed, split_by, split_seed, *shares, min_examples, unequal)
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
    return Own(
        "tabular", read_table(preprocess, root, recipe, plan, unlabelled=unlabelled, on_bad=on_bad), plan
    )


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
            of the plan where it leaves any, else to all rows.

    Raises:
        RequestError: naming file and row.
    """
    problems = Problems(on_bad)
    table = TableRows(recipe)
    for path in files_of(root):
        for place, row in rows_of(path, recipe.encoding, problems):
            table.add(place, row, problems)
    good = ~bad_rows(table.cells, table.places, problems)
    problems.warn(str(root))
    marked = table.marks(good, root)
    if recipe.columns is None:
        train = None if plan is None else share_out(marked, plan).tables.get("train")
        ids = np.arange(len(marked)) if train is None else train.flat()[0].astype(np.int64)
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
