"""Marks of examples: names by number, splits by their names, and what a fingerprint is of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from coldstart_cli.core.objectives import Regression
from coldstart_cli.datasets.own.labelled import Labelled, Marks, marks, split_named
from coldstart_cli.errors import RequestError

PLACES = ["row 0", "row 1", "row 2", "row 3"]
X = torch.tensor([[1.0], [2.0], [1.0], [3.0]])


def data(marked: Marks) -> Labelled:
    return marked.labelled(X, None, (), {})


def test_classes_are_numbered_by_the_alphabet() -> None:
    marked = marks(["b", "a", "b", "c"], None, None, PLACES)
    assert marked.classes == ("a", "b", "c") and marked.targets.tolist() == [1, 0, 1, 2]
    assert marked.tasks == () and marked.task_of.tolist() == [0, 0, 0, 0] and len(marked) == 4


def test_a_class_is_a_label_of_one_task_whatever_their_names_hold() -> None:
    marked = marks(["b", "b", "a/b", "b"], ["c/a", "c", "c", "c"], None, PLACES)
    assert marked.classes == ("c/a/b", "c/b", "c/a/b") and len(set(marked.targets.tolist())) == 3
    assert marked.tasks == ("c", "c/a") and marked.task_of.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "split"),
    [("Training", "train"), ("dev", "validation"), ("VAL", "validation"), ("test", "new"), ("new", "new")],
)
def test_splits_have_the_names_that_files_give_them(name: str, split: str) -> None:
    assert split_named(name) == split


def test_another_name_is_no_split() -> None:
    with pytest.raises(RequestError, match=r"^dataset.split_by: 'tset' is not a split; splits are train"):
        marks(list("aabb"), None, ["train", "tset", "train", "test"], PLACES)


def test_a_fingerprint_is_of_inputs_labels_and_splits_that_are_not_names_of_files() -> None:
    plain = marks(list("aabb"), None, None, PLACES)
    splits = ["train", "test", "train", "test"]
    told, by_name = (marks(list("aabb"), None, splits, PLACES, by_name=named) for named in (False, True))
    assert data(plain).fingerprint == data(by_name).fingerprint != data(told).fingerprint
    assert data(plain).fingerprint != data(marks(list("abab"), None, None, PLACES)).fingerprint
    assert data(plain).fingerprint != plain.labelled(X + 1, None, (), {}).fingerprint
    assert data(plain).fingerprint == data(replace(plain, places=["elsewhere"] * 4)).fingerprint


def test_persons_are_numbered_where_they_are_known() -> None:
    plain = marks(list("aabb"), None, None, PLACES)
    assert plain.from_origins(None) is plain and data(plain).origins is None
    known = data(plain.from_origins(["p2", "p1", "p2", "p2"]))
    assert known.origin_names == ("p1", "p2") and known.origins is not None
    assert known.origins.tolist() == [1, 0, 1, 1]


def test_targets_of_a_regression_are_scaled_and_the_objective_knows_it() -> None:
    marked = marks(torch.tensor([[10.0], [14.0]], dtype=torch.float64), None, None, PLACES[:2]).scaled(12, 2)
    assert marked.targets.tolist() == [[-1.0], [1.0]] and marked.targets.dtype == torch.float32
    assert marked.objective == Regression(1, 12, 2) and marked.classes == ()


def test_equal_inputs_are_of_one_group_unless_the_layout_knows_better() -> None:
    plain = marks(list("aabb"), None, None, PLACES)
    groups = data(plain).near_equal()
    assert groups[0] == groups[2] and len(set(groups.tolist())) == 3
    layout = plain.labelled(X, None, (), {}, alike=np.zeros(4, dtype=np.int64))
    assert set(layout.near_equal().tolist()) == {0}
    with pytest.raises(AssertionError):  # groups of other examples
        plain.labelled(X, None, (), {}, alike=np.zeros(5, dtype=np.int64))
