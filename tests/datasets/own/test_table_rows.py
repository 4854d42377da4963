"""What is read of a table row by row: marks, features by column, and what is left out whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.core.objectives import Regression
from coldstart_cli.datasets.own.table_rows import TableRecipe, TableRows, target_scale
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError

RECIPE = TableRecipe(
    label_column="label", target_column=None, task_column=None, split_column=None, ignore=(), categories=(),
    max_categories=10, keep=(), encoding="utf-8", delimiter="auto", quoted=None, header=True,
    decimal="point", columns=None, target_scale=None,
)  # fmt: skip


def read(recipe: TableRecipe, *rows: Mapping[str, Any], problems: Problems | None = None) -> TableRows:
    found = TableRows(recipe)
    for number, row in enumerate(rows):
        found.add(f"t.csv row {number}", row, problems or Problems("stop"))
    return found


def test_a_recipe_is_the_same_after_json() -> None:
    full = replace(
        RECIPE, ignore=("id",), columns=({"name": "x", "kind": "number"},), target_scale=(1.0, 2.0)  # type: ignore[arg-type]
    )  # fmt: skip
    for recipe in (RECIPE, full):
        assert TableRecipe.from_json(json.loads(json.dumps(recipe.as_json()))) == recipe


def test_a_recipe_of_before_does_not_say_what_was_not_asked() -> None:
    earlier = RECIPE.as_json()
    for key in ("decimal", "keep", "target_scale", "delimiter", "quoted", "header", "group_column"):
        del earlier[key]
    known = TableRecipe.from_json(earlier)
    assert known.decimal == "point" and known.keep == () and known.group_column is None and known.header


def test_columns_that_mark_a_row_or_are_ignored_are_no_features() -> None:
    recipe = replace(RECIPE, task_column="who", ignore=("id",))
    found = read(recipe, {"x": "1", "id": "7", "who": "p", "label": "a"})
    assert list(found.cells) == ["x"] and found.labels == ["a"] and found.tasks == ["p"]


def test_a_label_is_no_feature_where_a_target_is_learned() -> None:
    recipe = replace(RECIPE, target_column="y")
    found = read(recipe, {"x": "1", "y": "2.5", "label": "a"}, {"x": "2", "y": "3", "label": ""})
    assert list(found.cells) == ["x"] and found.targets == [2.5, 3.0]
    marked = found.marks(np.array([False, True]), "t.csv")
    assert marked.objective == Regression(1) and marked.targets.tolist() == [[3.0]]


def test_a_column_that_comes_late_is_missing_in_the_rows_before() -> None:
    found = read(RECIPE, {"x": 1, "label": "a"}, {"x": 2, "label": "b", "z": 5})
    assert len(found.cells["z"]) == len(found.cells["x"]) == 2
    kinds = found.cells["z"].arrays()[1]
    assert kinds[0] != kinds[1]


def test_a_row_that_is_left_out_leaves_nothing_behind() -> None:
    problems = Problems("skip")
    recipe = replace(RECIPE, target_column="y", task_column="who", group_column="site")
    rows = [{"x": 1, "y": y, "who": "p", "site": s} for y, s in (("1", "s"), ("much", "s"), ("2", ""))]
    found = read(recipe, *rows, problems=problems)
    assert len(problems.skipped) == 2 and "'much', no finite number" in problems.skipped[0]
    assert found.places == ["t.csv row 0"] and len(found.cells["x"]) == 1
    assert [len(part) for part in (found.targets, found.tasks, found.groups)] == [1, 1, 1]


def test_good_rows_keep_their_marks_and_origins() -> None:
    recipe = replace(RECIPE, group_column="site", split_column="split")
    rows = [
        {"x": 1, "label": label, "site": site, "split": split}
        for label, site, split in (("b", "s1", "train"), ("a", "s2", "train"), ("a", "s1", "test"))
    ]
    found = read(recipe, *rows)
    good = np.array([True, False, True])
    marked = found.marks(good, "t.csv")
    assert marked.classes == ("a", "b") and marked.targets.tolist() == [1, 0]
    assert marked.splits == ("new", "train") and marked.places == ["t.csv row 0", "t.csv row 2"]
    assert found.origins(good) == ["s1", "s1"] and read(RECIPE).origins(good) is None
    with pytest.raises(RequestError, match=r"^dataset.root: t.csv holds no row that can be read"):
        found.marks(np.zeros(3, dtype=np.bool_), "t.csv")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label_column": "lable"}, r"no column 'lable' \(dataset.label_column\)"),
        ({"keep": ("y",)}, r"no column 'y' \(dataset.keep\[0\]\)"),
        ({"categories": ("x", "c")}, r"no column 'c' \(dataset.categories\[1\]\)"),
        ({"label_column": None}, "neither label nor target is named; name a column"),
    ],
)
def test_columns_that_are_named_have_to_be_there(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        read(replace(RECIPE, **changes), {"x": 1, "label": "a"})


def test_suspicious_columns_are_named_unless_they_are_kept() -> None:
    rows = [{"": i, "x": (i * 7) % 5, "label": "ab"[i % 2]} for i in range(12)]
    (line,) = read(RECIPE, *rows).suspicions(1)
    assert "no name" in line
    assert read(replace(RECIPE, keep=("",)), *rows).suspicions(1) == []


def test_the_scale_of_equal_targets_is_1() -> None:
    assert target_scale(torch.tensor([[1.0], [3.0]])) == (2.0, 1.0)
    assert target_scale(torch.full((3, 1), 0.1)) == (pytest.approx(0.1), 1.0)
