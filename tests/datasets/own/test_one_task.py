"""One real task as a source, and its classes among those of a run's source."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.one_task import OneTask, SourceClasses, with_shared_labels


def five(unlabelled: int = 0) -> Labelled:
    """Three examples of a, two of b."""
    marked = marks(list("aabab"), None, None, [f"row {i}" for i in range(5)])
    free = torch.zeros(unlabelled, 2) if unlabelled else None
    return marked.labelled(torch.arange(10.0).view(5, 2), free, (), {})


def test_the_task_is_all_examples_as_often_as_it_is_asked_for() -> None:
    source = OneTask(five(), 7)
    first, second = source.tasks("new", [0, 5])
    assert torch.equal(first.support.inputs, second.support.inputs)  # type: ignore[arg-type]
    assert first.support.targets.tolist() == [0, 0, 1, 0, 1] and first.support.seed == 7
    assert torch.equal(first.query.targets, first.support.targets) and second.name == "new/5"
    assert source.input_shape == (2,) and not source.shares_labels
    assert source.facts() == {"new": "5 examples of 2 classes"}


def test_its_shape_is_of_the_poorest_class_and_no_other() -> None:
    source = OneTask(five(unlabelled=3), 0)
    assert source.shape == TaskShape(2, 2, 1, 2)
    assert source.with_shape(source.shape) is source and source.refusal("new", source.shape) is None
    other = replace(source.shape, k_shot=1)
    assert source.refusal("new", other) == "one task of your own has the shape it has"
    with pytest.raises(ValueError, match="has the shape it has"):
        source.with_shape(other)
    with pytest.raises(ValueError, match="has no source; name a trained run"):
        source.pool("train")


def test_classes_of_the_source_are_found_by_name_or_said_to_be_others() -> None:
    known = SourceClasses(("c", "b", "a"))
    rows = known.rows(["a", "b"])
    assert rows is not None and rows.tolist() == [2, 1] and known.said(["a", "b"]) == ()
    assert known.rows(["a", "x"]) is None and known.rows([]) is None
    (line,) = known.said(["a", "x", "y", "z", "w"])
    assert line.startswith("4 of 5 classes are not classes of the run's source (x, y, z, ...)")
    assert SourceClasses().said(["a"]) == () and SourceClasses(lack="it is gone").said(["a"]) == (
        "it is gone",
    )
    assert OneTask(five(), 0, rows).shares_labels


def test_labels_that_tasks_share_become_classes() -> None:
    private = marks(["walk", "run", "walk", "sit"], ["p1", "p1", "p2", "p2"], None, ["row"] * 4).labelled(
        torch.zeros(4, 1), None, (), {}
    )
    shared = with_shared_labels(private)
    assert shared.classes == ("run", "sit", "walk") and shared.targets.tolist() == [2, 0, 2, 1]
    assert shared.tasks == () and shared.objective.n_outputs == 3
    assert shared.fingerprint != private.fingerprint
    assert with_shared_labels(shared) is shared


def test_names_follow_the_classes_that_tasks_share() -> None:
    marked = marks(["walk", "run", "walk", "sit"], ["p1", "p1", "p2", "p2"], None, ["row"] * 4)
    assert marked.labels == ("run", "walk", "sit", "walk")
    called = torch.tensor([[1.0], [2.0], [3.0], [2.0]])
    private = replace(marked.labelled(torch.zeros(4, 1), None, (), {}), names=called, nameless=("sit",))
    shared = with_shared_labels(private)
    assert shared.classes == ("run", "sit", "walk")
    names = OneTask(shared, 0).support().names
    assert isinstance(names, torch.Tensor) and names.tolist() == [[1.0], [3.0], [2.0]]
    assert OneTask(shared, 0).named and OneTask(shared, 0).nameless == ("sit",)
    assert not OneTask(five(), 0).named
