"""Labels that tasks share: one label space, of which every task's classes are rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.one_task import with_shared_labels
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan, fitted_rows

PLAN = Plan(TaskShape(None, 1, 2, 0), 0, "task", 0, 0.2, 0.3, 0.2, None, False, True)


def persons(
    n: int = 10, labels: str = "abc", splits: Sequence[str] | None = None, more: str = ""
) -> Labelled:
    """Eight examples of each label of each person; the input is (number of the label, person)."""
    pairs = [(person, label) for person in range(n) for label in "abc" + (more if person == 0 else "")]
    rows = [pair for pair in pairs for _ in range(8)]
    marked = marks(
        [label for _, label in rows],
        [f"p{person}" for person, _ in rows],
        None if splits is None else [splits[person] for person, _ in rows],
        [f"row {i}" for i in range(len(rows))],
    )
    x = torch.tensor([["abcdefgh".index(label), person] for person, label in rows], dtype=torch.float32)
    return marked.labelled(x, None, (), {})


def test_the_pool_has_the_labels_and_tasks_say_which_they_are() -> None:
    source = Own("persons", persons(), PLAN)
    pool = source.pool("train")
    assert pool.objective.n_outputs == 3 and pool.names == ("a", "b", "c") and pool.groups == ()
    every = pool.examples(torch.arange(len(pool)))
    assert torch.equal(every.inputs[:, 0].long(), every.targets)  # type: ignore[index]
    assert source.shares_labels and source.shape.n_way == 3
    for split in ("train", "validation", "source_test", "new"):
        for task in source.tasks(split, range(5)):  # type: ignore[arg-type]
            rows = task.support.source_classes
            assert rows is not None and sorted(rows.tolist()) == [0, 1, 2]
            of_support = task.support.inputs[:, 0].long()  # type: ignore[index]
            assert torch.equal(of_support, rows[task.support.targets])
            assert len(set(task.support.inputs[:, 1].tolist())) == 1  # type: ignore[index]  # one person


def test_tasks_without_labels_are_served() -> None:
    source = Own("persons", persons(), replace(PLAN, shape=TaskShape(None, 0, 2, 3)))
    (task,) = source.tasks("new", [0])
    assert len(task.support) == 0 and task.support.source_classes is not None


def test_persons_are_new_as_the_files_say_and_unknown_labels_are_left_out_by_name() -> None:
    splits = ["test", *["train"] * 6, *["test"] * 3]
    source = Own("persons", persons(splits=splits, more="d"), replace(PLAN, split_by="file"))
    assert {origin for origin in source.shares.tables["new"].origins} == {"p0", "p7", "p8", "p9"}
    with pytest.warns(RuntimeWarning, match=r"p0/d \(no label of train\)"):
        source.tasks("new", [0])
    assert source.pool("train").names == ("a", "b", "c")


def test_classes_cannot_be_shared_and_divided() -> None:
    reason = Own("persons", persons(), replace(PLAN, split_by="class")).shares.reason
    assert reason is not None and "set split_by=task or file" in reason


def test_shared_labels_are_other_data_than_private_ones() -> None:
    shared, private = (Own("p", persons(), replace(PLAN, shared_labels=s)) for s in (True, False))
    assert shared.fingerprint != private.fingerprint
    assert not private.shares_labels and private.pool("train").objective.n_outputs == 15


def test_one_task_of_all_persons_has_the_labels_alone() -> None:
    whole = with_shared_labels(persons(4))
    assert whole.classes == ("a", "b", "c") and whole.tasks == () and whole.objective.n_outputs == 3
    assert torch.equal(whole.inputs[:, 0].long(), whole.targets)  # type: ignore[index]


def test_fitted_rows_are_those_of_training() -> None:
    splits = ["train"] * 6 + ["test"] * 4
    data = persons(splits=splits)
    assert np.array_equal(fitted_rows(data, None), np.arange(6 * 24))  # type: ignore[arg-type]
    assert len(fitted_rows(persons(), None)) == 240  # type: ignore[arg-type]
    assert len(fitted_rows(data, replace(PLAN, split_by="class", shared_labels=False))) < 240  # type: ignore[arg-type]
