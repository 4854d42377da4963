"""One task with all classes at once: draws of its labels, judged by one test set."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from coldstart_cli.core.tasks import Examples, Split, TaskShape
from coldstart_cli.datasets.episodes.classes import class_table
from coldstart_cli.datasets.own.draws import Draws, Part
from coldstart_cli.datasets.own.labelled import marks


def source(k_shot: int = 2, n_unlabelled: int = 1) -> Draws:
    """Two classes of ten examples: six to draw from, four that judge; the input is the example's number."""
    marked = marks(["a"] * 10 + ["b"] * 10, None, None, [f"row {i}" for i in range(20)])
    labelled = marked.labelled(torch.arange(20.0)[:, None], None, (), {})
    judged = torch.tensor([6, 7, 8, 9, 16, 17, 18, 19])
    table = class_table(
        [range(6), range(10, 16)], group_of=None, quarter_turns=None, origins=(), names=labelled.classes
    )
    part = Part(table, Examples(judged.float()[:, None], labelled.targets[judged]), judged.numpy())
    parts: dict[Split, Part] = {"new": part}
    return Draws("small", labelled, parts, k_shot=k_shot, n_unlabelled=n_unlabelled, bank_seed=0)


def numbers(inputs: object) -> list[int]:
    assert isinstance(inputs, torch.Tensor)
    return inputs[:, 0].int().tolist()


def test_every_draw_has_all_classes_and_the_whole_test_set() -> None:
    made = source()
    assert made.shape == TaskShape(2, 2, 4, 1) and not made.has_source
    tasks = made.tasks("new", range(10))
    for task in tasks:
        drawn, free = numbers(task.support.inputs), numbers(task.support.unlabelled)
        assert [number // 10 for number in drawn] == task.support.targets.tolist() == [0, 0, 1, 1]
        assert len({*drawn, *free}) == 6 and all(number % 10 < 6 for number in [*drawn, *free])
        assert task.query is tasks[0].query and len(task.query) == 8
    assert len({tuple(numbers(task.support.inputs)) for task in tasks}) > 1


def test_more_labels_contain_the_fewer() -> None:
    (many,), (few,) = source().tasks("new", [3]), source(k_shot=1).tasks("new", [3])
    assert numbers(few.support.inputs) == numbers(many.support.inputs)[::2]


def test_no_example_is_kept_back_for_queries() -> None:
    (task,) = source(k_shot=5).tasks("new", [0])
    drawn = [*numbers(task.support.inputs), *numbers(task.support.unlabelled)]
    assert sorted(drawn) == [*range(6), *range(10, 16)]


@pytest.mark.parametrize(
    ("split", "changes", "reason"),
    [
        ("train", {}, "all classes are one new task, without train; choose another dataset.setting"),
        ("new", {"n_way": 1}, "every task has all 2 classes, not 1; leave out n_way"),
        ("new", {"k_shot": 6}, r"a class of new has 6 examples to draw from, not 6 \+ 1"),
        ("new", {"n_query": 0}, "is not a task"),
    ],
)
def test_what_cannot_be_drawn_is_refused(split: Split, changes: dict[str, int], reason: str) -> None:
    made = source()
    made.shape = replace(made.shape, **changes)
    with pytest.raises(ValueError, match=f"^small: .*{reason}"):
        made.tasks(split, [0])


def test_the_pool_is_what_is_drawn_from() -> None:
    pool = source().pool("new")
    every = pool.examples(torch.arange(len(pool)))
    assert numbers(every.inputs) == [*range(6), *range(10, 16)]
    assert every.targets.tolist() == [0] * 6 + [1] * 6 and pool.names == ("a", "b")
    with pytest.raises(ValueError, match="without validation"):
        source().pool("validation")
    assert source().facts() == {"new": "2 classes x 6 to 6 examples to draw from, 8 fixed queries"}
