"""Labels that tasks share: one label space, of which every task's classes are rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.one_task import with_shared_labels
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan, fitted_rows
from coldstart_cli.errors import RequestError

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


def of_five(n_tasks: int = 20) -> Labelled:
    """Tasks of five persons, four each; eight examples of two labels."""
    rows = [(task, label) for task in range(n_tasks) for label in "ab" for _ in range(8)]
    marked = marks(
        [label for _, label in rows],
        [f"t{task:02}" for task, _ in rows],
        None,
        [f"row {i}" for i in range(len(rows))],
    ).from_origins([f"person {task % 5}" for task, _ in rows])
    x = torch.tensor([[task, task % 5] for task, _ in rows], dtype=torch.float32)
    return marked.labelled(x, None, (), {})


UNSHARED = replace(PLAN, shared_labels=False)


def test_persons_are_whole_in_shares_and_the_origin_of_their_tasks() -> None:
    source = Own("tasks", of_five(), UNSHARED)
    persons_of = {}
    for split in ("train", "validation", "new"):
        tasks = source.tasks(split, range(30))  # type: ignore[arg-type]
        for task in tasks:
            (person,) = set(task.support.inputs[:, 1].tolist())  # type: ignore[index]
            assert task.origin == f"person {person:.0f}"
        persons_of[split] = {task.origin for task in tasks}
    assert not persons_of["train"] & (persons_of["new"] | persons_of["validation"])
    assert len(persons_of["new"]) == 2  # 30 % of five


def test_a_task_of_several_persons_is_an_origin_of_its_own() -> None:
    labelled = of_five(10)
    assert labelled.origins is not None
    mixed = labelled.origins.copy()
    mixed[0] = (mixed[0] + 1) % 5  # one row of t00 is another person's
    source = Own("tasks", replace(labelled, origins=mixed), replace(UNSHARED, leave_out="t00"))
    assert {task.origin for task in source.tasks("new", range(5))} == {"t00"}


def test_one_origin_is_left_out_by_name() -> None:
    source = Own("tasks", of_five(), replace(UNSHARED, leave_out="person 3"))
    assert {task.origin for task in source.tasks("new", range(20))} == {"person 3"}
    assert "person 3" not in {task.origin for task in source.tasks("train", range(50))}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"leave_out": "nobody"}, r"leave_out=nobody is none of 5: person 0, person 1"),
        (
            {"leave_out": "person 1", "split_by": "class"},
            r"leave_out names a task or origin; .*split_by=task",
        ),
    ],
)
def test_leave_out_refuses_what_it_cannot_serve(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        Own("tasks", of_five(), replace(UNSHARED, **changes)).tasks("new", [0])


def test_new_examples_alone_have_the_classes_of_a_source_elsewhere() -> None:
    marked = marks(list("abd" * 8), None, None, [f"row {i}" for i in range(24)])
    labelled = marked.labelled(torch.arange(24.0)[:, None], None, (), {})
    source = Own("rows", labelled, replace(UNSHARED, split_by="file", elsewhere=("a", "b", "c")))
    assert source.shares_labels and not source.has_source and source.validation == "none"
    with pytest.warns(RuntimeWarning, match=r"no label of the source, are left out: d \(no class of the run"):
        (task,) = source.tasks("new", [0])
    rows = task.support.source_classes
    assert rows is not None and sorted(rows.tolist()) == [0, 1]
    assert source.shares.left_out == ("d (no class of the run's source)",)
