"""Tables of one's own: CSV, TSV, JSONL, Parquet or XLSX with a column of labels, or of reals to predict.

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
    ABSENT,
    Cells,
    Decimal,
    bad_rows,
    cells_for,
    check_numbers,
    check_words,
    encoded,
    fitted,
    parsed,
    pointed,
    written_hashes,
)
from coldstart_cli.datasets.own.filled_in import having_label
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.names import named
from coldstart_cli.datasets.own.raw import Raw
from coldstart_cli.datasets.own.shared import OwnData, plan_of, wording_of
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan, fitted_rows
from coldstart_cli.datasets.own.stated_splits import files_with
from coldstart_cli.datasets.own.table_rows import TableRecipe, TableRows, target_scale
from coldstart_cli.datasets.readers.delimited import Delimiter, Row
from coldstart_cli.datasets.readers.lines import STDIN, opened
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.datasets.readers.tables import check_columns, files_of, kind_of, rows_in, rows_of
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess


def tabular(
    preprocess: Preprocess,
    *,
    label_column: str | None,
    target_column: str | None,
    task_column: str | None,
    split_column: str | None,
    group_column: str | None,
    ignore: list[str],
    categories: list[str],
    max_categories: Annotated[int, Ge(2)],
    keep: list[str],
    encoding: str,
    delimiter: Delimiter,
    quoted: bool | None,
    header: bool,
    sheet: str | None,
    decimal: Decimal,
    labelled: list[str],
    **own: Unpack[OwnData],
) -> Own:
    """Rows of your own tables as tasks.

    Args:
        preprocess: the model's.
        label_column: of the class.
        target_column: of the real to predict, in place of a label; or None.
        task_column, split_column: names of columns, or None.
        group_column: of the person, session or document that a row is from, or None: `adapt` never learns
            from some rows of one and judges by others.
        ignore: columns that are no features.
        categories: columns whose numbers are names of categories.
        max_categories: different values of a category, at most.
        keep: features that look like row numbers or like the label, and are none.
        encoding: of the files.
        delimiter: what separates columns; `auto`: what the first row shows.
        quoted: whether quotation marks around a field are no part of it; None: in CSV, not between tabs.
        header: whether the first row names the columns; else they are called column_1, column_2, ...
        sheet: of a workbook; None: the first that is shown.
        decimal: what stands before the decimals of a number in CSV: a point or a comma.
        labelled: tables of further labelled rows; those without a label yet are counted and left out.
        own: see `OwnData`.

    Raises:
        RequestError: naming file and row.
    """
    wording = wording_of(own, preprocess)
    plan = plan_of(own)
    recipe = TableRecipe(
        label_column=label_column,
        target_column=target_column,
        task_column=task_column,
        split_column=split_column,
        ignore=tuple(ignore),
        categories=tuple(categories),
        max_categories=max_categories,
        keep=tuple(keep),
        encoding=encoding,
        delimiter=delimiter,
        quoted=quoted,
        header=header,
        decimal=decimal,
        columns=None,
        target_scale=None,
        group_column=group_column,
        sheet=sheet,
        labelled=tuple(labelled),
    )
    found = read_table(
        preprocess, own["root"], recipe, plan, unlabelled=own["unlabelled"], on_bad=own["on_bad"]
    )
    return Own("tabular", named(found, preprocess, wording), plan)


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
    files = files_with(root, recipe.labelled, problems)
    for path, split, filled_in in files:
        rows = rows_of(path, recipe.form, problems)
        for place, row in having_label(rows, path, recipe.told, problems) if filled_in else rows:
            table.add(place, row, problems)
        if split is not None and recipe.split_column is None:
            by_name = True
            table.splits += [split] * (len(table.places) - len(table.splits))
    good = ~bad_rows(table.cells, table.places, problems)
    if recipe.columns is None:
        table.refuse_unnamed_splits()
        table.say_missing(problems)
        for line in table.suspicions(n_files=len(files)):
            problems.remark(line)
    problems.warn(str(root))
    marked = table.marks(good, root, by_name=by_name).from_origins(table.origins(good))
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
    # Only one task is adapted to again; of source data, which are many, nobody asks
    contents = written_hashes(table.cells)[good] if plan is None else None
    return marked.labelled(
        inputs, free, problems.skipped, recipe.as_json(), remarks=problems.said, contents=contents
    )


def raw_table(
    preprocess: Preprocess, path: str, recipe: TableRecipe, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """Rows without labels, `chunk` at a time; `-` is a table from standard input, answered as its rows come.

    Raises:
        RequestError: naming file and row, or a column that is not there.
    """
    return raw_rows(preprocess, _raw(path, recipe, problems), recipe, problems=problems, chunk=chunk)


def raw_rows(
    preprocess: Preprocess,
    rows: Iterable[Row | None],
    recipe: TableRecipe,
    *,
    problems: Problems,
    chunk: int,
) -> Iterator[Raw]:
    """The same for rows that have been read, or lie in memory.

    Args:
        rows: None where the next may take a while, so that those before it are answered now.
    """
    assert recipe.columns is not None
    columns = recipe.columns
    names = {f"columns[{i}]": column["name"] for i, column in enumerate(columns)}
    cells, read = cells_for(columns), list[Row]()

    def made() -> Raw:
        places, values = zip(*read, strict=True)
        return Raw(preprocess.vectors(torch.from_numpy(encoded(columns, cells))), places, values)

    for item in rows:
        if item is not None:
            place, row = item[0], pointed(item[1], recipe.decimal)
            check_columns(place, row, names)
            wrong = next(check_numbers(columns, row), None)
            if wrong is not None:
                problems.add(place, wrong, "repair it")
                continue
            absent = [column for column in columns if parsed(row[column["name"]])[0] == ABSENT]
            if len(absent) == len(columns):
                problems.add(place, "every column is empty", "fill one")  # as spreadsheets end their exports
                continue
            for what, remedy in check_words(columns, row):
                problems.unfamiliar(place, what, remedy)
            problems.absent(c["name"] for c in absent if c["kind"] == "number" and not c["missing"])
            read.append(item)
            for name, own in cells.items():
                own.add(row[name])
        if read and (item is None or len(read) == chunk):
            yield made()
            cells, read = cells_for(columns), []
    if read:
        yield made()


def with_columns(recipe: TableRecipe, path: str) -> TableRecipe:
    """The recipe with what is known of the features of rows that need no label; all rows tell it.

    Raises:
        RequestError: for a file that cannot be read, or a column that is no feature.
    """
    problems = Problems("skip")
    no_features = {*recipe.ignore, recipe.label_column, recipe.target_column, *recipe.marking.values()}
    cells, places = dict[str, Cells](), list[str]()
    for file in files_of(path, problems):
        for place, raw in rows_of(file, recipe.form, problems):
            row = pointed(raw, recipe.decimal)
            for name in row:
                if name not in cells and name not in no_features:
                    cells[name] = Cells(name in recipe.categories)
                    for _ in places:  # rows before the column was first seen
                        cells[name].add(None)
            places.append(place)
            for name, own in cells.items():
                own.add(row.get(name))
    good = ~bad_rows(cells, places, problems)
    columns = fitted(cells, np.flatnonzero(good), recipe.max_categories) if good.any() else []
    if not columns:
        raise RequestError(f"input: {path} has no row or no column of features; see what its rows are")
    return replace(recipe, columns=tuple(columns))


def _raw(path: str, recipe: TableRecipe, problems: Problems) -> Iterator[Row | None]:
    if path == STDIN:
        with opened(path, recipe.encoding) as lines:
            kind = kind_of(lines, None) or ".csv"
            for row in rows_in(lines, "standard input", kind, recipe.form, problems):
                yield row
                if lines.idle():
                    yield None
        return
    for file in files_of(path, problems):
        yield from rows_of(file, recipe.form, problems)


def _unlabelled(preprocess: Preprocess, path: str, recipe: TableRecipe, problems: Problems) -> Inputs | None:
    found = list(raw_table(preprocess, path, recipe, problems=problems, chunk=1 << 30))
    problems.warn(path)
    return found[0].inputs if found else None
