"""Your own texts: CSV, TSV, JSONL, Parquet or XLSX with columns text and label, and maybe task and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Unpack

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own.filled_in import having_label
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.names import named, saying_their_name
from coldstart_cli.datasets.own.raw_text import TextRecipe, count_cut, raw_texts
from coldstart_cli.datasets.own.shared import OwnData, plan_of, wording_of
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.stated_splits import files_with, split_columns
from coldstart_cli.datasets.own.targets import label_of
from coldstart_cli.datasets.readers.delimited import Delimiter
from coldstart_cli.datasets.readers.equality import near_equal_groups
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.datasets.readers.tables import (
    check_columns,
    rows_of,
)
from coldstart_cli.digests import row_hashes
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess

_FEW = 9
"""Values of a column that is not read which are looked at: splits are fewer."""


def text(
    preprocess: Preprocess,
    *,
    text_column: str,
    label_column: str,
    task_column: str | None,
    split_column: str | None,
    group_column: str | None,
    encoding: str,
    delimiter: Delimiter,
    quoted: bool | None,
    header: bool,
    sheet: str | None,
    labelled: list[str],
    **own: Unpack[OwnData],
) -> Own:
    """Your own texts as tasks.

    Args:
        preprocess: the model's.
        text_column, label_column: names of columns.
        task_column, split_column: names of columns, or None.
        group_column: of the person, session or document that a row is from, or None: `adapt` never learns
            from some rows of one and judges by others.
        encoding: of the files.
        delimiter: what separates columns; `auto`: what the first row shows.
        quoted: whether quotation marks around a field are no part of it; None: in CSV, not between tabs.
        header: whether the first row names the columns; else they are called column_1, column_2, ...
        sheet: of a workbook; None: the first that is shown.
        labelled: tables of further labelled texts; rows without a label yet are counted and left out.
        own: see `OwnData`.

    Raises:
        RequestError: naming file and row.
    """
    wording = wording_of(own, preprocess)
    recipe = TextRecipe(
        text_column,
        label_column,
        task_column,
        split_column,
        encoding,
        delimiter,
        quoted,
        header,
        group_column,
        sheet,
        tuple(labelled),
    )
    found = read_texts(preprocess, own["root"], recipe, unlabelled=own["unlabelled"], on_bad=own["on_bad"])
    return Own("text", named(found, preprocess, wording), plan_of(own))


def read_texts(
    preprocess: Preprocess, root: str | None, recipe: TextRecipe, *, unlabelled: str | None, on_bad: OnBad
) -> Labelled:
    """All rows of the file, or of all files in the folder, with their labels.

    Raises:
        RequestError: naming file and row.
    """
    problems = Problems(on_bad)
    texts: list[str] = []
    places: list[str] = []
    needed = {
        f"{name}_column": getattr(recipe, f"{name}_column")
        for name in ("text", "label", "task", "split", "group")
    }
    named = {name: column for name, column in needed.items() if column is not None and name != "text_column"}
    marked_by: dict[str, list[str]] = {name: [] for name in named}
    stated: list[str] = []
    other: dict[str, Counter[str]] = {}
    for path, split, filled_in in files_with(root, recipe.labelled, problems):
        rows = rows_of(path, recipe.form, problems)
        for place, row in having_label(rows, path, recipe.label_column, problems) if filled_in else rows:
            check_columns(place, row, needed)
            names = {name: label_of(place, column, row[column], problems) for name, column in named.items()}
            if None in names.values() or not _is_text(place, row[recipe.text_column], recipe, problems):
                continue
            texts.append(row[recipe.text_column])
            places.append(place)
            for name, value in names.items():
                marked_by[name].append(str(value))
            for name, value in row.items():
                if name not in needed.values() and len(other.setdefault(name, Counter())) < _FEW:
                    other[name][str(value)] += 1
            if split is not None and recipe.split_column is None:
                stated.append(split)
    count_cut(preprocess, texts, problems)
    if recipe.split_column is None and not stated:
        _remark_splits(other, problems)
    problems.warn(str(root), preprocess.max_length)
    if not texts:
        raise RequestError(f"dataset.root: {root} holds no row with text and label; name a file that does")
    tasks, splits = marked_by.get("task_column"), marked_by.get("split_column", stated or None)
    marked = marks(marked_by["label_column"], tasks, splits, places, by_name=bool(stated))
    marked = marked.from_origins(marked_by.get("group_column"))
    free = None if unlabelled is None else _unlabelled(preprocess, unlabelled, recipe, problems)
    alike = near_equal_groups(texts)
    labelled = marked.labelled(
        preprocess.texts(texts),
        free,
        problems.skipped,
        recipe.as_json(),
        alike,
        problems.said,
        row_hashes(text.encode("utf-8", "surrogatepass") for text in texts),
    )
    naming = saying_their_name(texts, marked.targets.numpy(), marked.labels)
    return replace(labelled, naming=naming)


def _remark_splits(other: Mapping[str, Counter[str]], problems: Problems) -> None:
    """A line for each column that is not read and says train and test of the rows."""
    for name in split_columns(other):
        said = ", ".join(f"{value} {n:,}" for value, n in other[name].most_common())
        problems.remark(
            f"dataset.split_column: column {name} names splits of the rows ({said}) and is not read: all are "
            f"one; name it to keep them apart (dataset.split_column={name})"
        )


def _is_text(place: str, value: object, recipe: TextRecipe, problems: Problems) -> bool:
    """Whether the cell of the text has one; what is wrong goes to `problems`."""
    if value is not None and not isinstance(value, str):
        problems.add(place, f"column {recipe.text_column} is not a text but {value!r:.40}", "quote it")
        return False
    if not (value or "").strip():
        problems.add(place, f"column {recipe.text_column} is empty", "fill it")
        return False
    return True


def _unlabelled(preprocess: Preprocess, path: str, recipe: TextRecipe, problems: Problems) -> Inputs | None:
    """All of them at once, for inputs of two calls may differ in length."""
    found = list(raw_texts(preprocess, path, recipe, problems=problems, chunk=1 << 30))
    problems.warn(path, preprocess.max_length)
    return found[0].inputs if found else None
