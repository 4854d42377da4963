"""What has been read of a table: marks of each row, and its features by column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.datasets.own.columns import (
    ABSENT,
    NUMBER,
    Cells,
    Column,
    Decimal,
    cells_for,
    check_numbers,
    deviation_of,
    parsed,
    pointed,
)
from coldstart_cli.datasets.own.labelled import Marks, marks
from coldstart_cli.datasets.own.stated_splits import split_columns
from coldstart_cli.datasets.own.suspicious_columns import suspicions
from coldstart_cli.datasets.own.targets import label_of
from coldstart_cli.datasets.readers.delimited import EARLIER, Delimiter, TableFormat
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import check_columns
from coldstart_cli.errors import RequestError


@dataclass(frozen=True, slots=True)
class TableRecipe:
    """Which columns are what, and what has been fitted to them.

    Attributes:
        columns: what is known of each feature, or None before that is fitted.
        target_scale: mean and deviation of the target, or None: before they are fitted, and where there are
            labels.
    """

    label_column: str | None
    target_column: str | None
    task_column: str | None
    split_column: str | None
    ignore: tuple[str, ...]
    categories: tuple[str, ...]
    max_categories: int
    keep: tuple[str, ...]
    encoding: str
    delimiter: Delimiter
    quoted: bool | None
    header: bool
    decimal: Decimal
    columns: tuple[Column, ...] | None
    target_scale: tuple[float, float] | None
    group_column: str | None = None  # recipes that were written earlier do not name one, nor a sheet
    sheet: str | None = None
    labelled: tuple[str, ...] = ()  # tables to be filled in; never kept

    def as_json(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("ignore", "categories", "keep")}
        columns = None if self.columns is None else [dict(column) for column in self.columns]
        scale = None if self.target_scale is None else list(self.target_scale)
        known = {"layout": "tabular", **asdict(self), **lists, "columns": columns, "target_scale": scale}
        del known["labelled"]
        return known

    @staticmethod
    def from_json(recipe: Mapping[str, Any]) -> TableRecipe:
        # Recipes that were written earlier do not say what was not yet asked.
        known = {**EARLIER, "decimal": "point", "keep": (), "target_scale": None, "labelled": (), **recipe}
        values = {name: value for name, value in known.items() if name != "layout"}
        for name in ("ignore", "categories", "keep", "columns", "target_scale", "labelled"):
            values[name] = None if values[name] is None else tuple(values[name])
        return TableRecipe(**values)

    @property
    def form(self) -> TableFormat:
        """How its files are written."""
        return TableFormat(self.encoding, self.delimiter, self.quoted, self.header, self.sheet, typed=True)

    @property
    def told(self) -> str:
        """The column of what is to be learned."""
        return str(self.label_column if self.target_column is None else self.target_column)

    @property
    def marking(self) -> dict[str, str | None]:
        """Columns that mark a row, by the option that names them; of label and target the one that counts."""
        named = {f"{name}_column": getattr(self, f"{name}_column") for name in ("task", "split", "group")}
        told = "label_column" if self.target_column is None else "target_column"
        return {told: getattr(self, told), **named}


class TableRows:
    """What has been read: marks of each row, and its features by column."""

    def __init__(self, recipe: TableRecipe) -> None:
        self.recipe = recipe
        self.cells = {} if recipe.columns is None else cells_for(recipe.columns)
        self.places: list[str] = []
        self.labels: list[str] = []
        self.targets: list[float] = []
        self.tasks: list[str] = []
        self.splits: list[str] = []
        self.groups: list[str] = []
        self.no_features = {*recipe.ignore, *(column for column in recipe.marking.values() if column)}
        if recipe.label_column is None and recipe.target_column is None:
            raise RequestError("dataset.label_column: neither label nor target is named; name a column")
        if recipe.label_column is not None:
            self.no_features.add(recipe.label_column)

    def add(self, place: str, row: Mapping[str, Any], problems: Problems) -> None:
        recipe = self.recipe
        row = pointed(row, recipe.decimal)
        check_columns(place, row, recipe.marking)
        if not self.places:
            check_columns(place, row, {f"keep[{i}]": name for i, name in enumerate(recipe.keep)})
            check_columns(place, row, {f"ignore[{i}]": name for i, name in enumerate(recipe.ignore)})
            check_columns(place, row, {f"categories[{i}]": name for i, name in enumerate(recipe.categories)})
        if recipe.columns is not None:
            check_columns(place, row, {f"columns[{i}]": c["name"] for i, c in enumerate(recipe.columns)})
            wrong = next(check_numbers(recipe.columns, row), None)
            if wrong is not None:
                problems.add(place, wrong, "repair it")
                return
        if not self._marked(place, row, problems):
            return
        if recipe.columns is None:
            for name in row:
                if name not in self.cells and name not in self.no_features:
                    self.cells[name] = Cells(name in recipe.categories)
                    for _ in self.places:  # rows before the column was first seen
                        self.cells[name].add(None)
        self.places.append(place)
        for name, cells in self.cells.items():
            cells.add(row.get(name))

    def _marked(self, place: str, row: Mapping[str, Any], problems: Problems) -> bool:
        recipe = self.recipe
        names: dict[str, str] = {}
        for option, column in recipe.marking.items():
            if column is None:
                continue
            name = label_of(place, column, row[column], problems)
            if name is None:
                return False
            names[option] = name
        if recipe.target_column is not None:
            kind, number, _ = parsed(row[recipe.target_column])
            if kind != NUMBER:
                what = f"column {recipe.target_column} is {names['target_column']!r:.40}"
                problems.add(place, f"{what}, no finite number", "repair it")
                return False
            self.targets.append(number)
        else:
            self.labels.append(names["label_column"])
        if recipe.task_column is not None:
            self.tasks.append(names["task_column"])
        if recipe.split_column is not None:
            self.splits.append(names["split_column"])
        if recipe.group_column is not None:
            self.groups.append(names["group_column"])
        return True

    def refuse_unnamed_splits(self) -> None:
        """
        Raises:
            RequestError: naming a feature that says train and test of its rows: all would be learned from.
        """
        recipe = self.recipe
        if recipe.split_column is not None:
            return
        columns = {
            name: [*cells.words]
            for name, cells in self.cells.items()
            if name not in (*recipe.keep, *recipe.categories)
        }
        for name in split_columns(columns):
            counts = Counter(self.cells[name].texts())
            said = ", ".join(f"{value} {n:,}" for value, n in counts.most_common())
            raise RequestError(
                f"dataset.split_column: column {name} names splits of the rows ({said}); name it "
                f"(dataset.split_column={name}), leave it out (dataset.ignore=[{name}]) or keep it as a "
                f"feature (dataset.keep=[{name}]) (E18)"
            )

    def say_missing(self, problems: Problems) -> None:
        """Counts cells without a value, by column."""
        counts = {name: int((cells.arrays()[1] == ABSENT).sum()) for name, cells in self.cells.items()}
        missing = {name or "''": n for name, n in counts.items() if n}
        if missing:
            first = ", ".join(f"{name} {n:,}" for name, n in [*missing.items()][:6])
            more = f", and {len(missing) - 6:,} more columns" if len(missing) > 6 else ""
            total, cells = sum(missing.values()), len(self.places) * len(counts)
            problems.note(
                f"{total:,} of {cells:,} values are missing and read as such ({first}{more}); fill "
                "them, or leave these columns out (dataset.ignore)"
            )

    def suspicions(self, n_files: int) -> list[str]:
        """Columns that are features by their place and hardly by their content, one line each."""
        kept = {name: cells for name, cells in self.cells.items() if name not in self.recipe.keep}
        return suspicions(kept, self.labels, n_files)

    def origins(self, good: NDArray[np.bool_]) -> list[str] | None:
        """The person, session or document that each good row is from, where a column says so."""
        return [self.groups[row] for row in np.flatnonzero(good).tolist()] if self.groups else None

    def marks(self, good: NDArray[np.bool_], root: str | None, *, by_name: bool = False) -> Marks:
        if not good.any():
            raise RequestError(f"dataset.root: {root} holds no row that can be read; see what its rows are")
        rows = np.flatnonzero(good).tolist()

        def chosen(values: list[str]) -> list[str] | None:
            return [values[row] for row in rows] if values else None

        places = [self.places[row] for row in rows]
        if self.recipe.target_column is not None:
            reals = torch.tensor(self.targets, dtype=torch.float64)[rows].unsqueeze(1)
            return marks(reals, chosen(self.tasks), chosen(self.splits), places, by_name=by_name)
        labels = chosen(self.labels) or []
        return marks(labels, chosen(self.tasks), chosen(self.splits), places, by_name=by_name)


def target_scale(targets: Tensor) -> tuple[float, float]:
    """Mean and deviation of targets (n, 1); 1 where all are equal."""
    return float(targets.mean()), deviation_of(targets.double().numpy())
