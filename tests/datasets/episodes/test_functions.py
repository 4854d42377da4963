"""Regressions over a table of points: each task is one function."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from coldstart_cli.core.objectives import Regression
from coldstart_cli.core.tasks import Split, TaskShape
from coldstart_cli.datasets.episodes.classes import ClassTable, class_table
from coldstart_cli.datasets.episodes.functions import Functions, map_shapes

SIZES = (8, 8, 8, 12, 6, 9)
STARTS = [sum(SIZES[:number]) for number in range(len(SIZES))]
SHAPE = TaskShape(None, 2, 4, 1)


def table(*numbers: int) -> ClassTable:
    ids = [range(STARTS[number], STARTS[number] + SIZES[number]) for number in numbers]
    names = [f"f{number}" for number in numbers]
    return class_table(ids, group_of=None, quarter_turns=None, origins=[], names=names)


def functions(shape: TaskShape = SHAPE) -> Functions:
    """Six functions; the target of a point is (number of its function, the point's id)."""
    of_point = [number for number, size in enumerate(SIZES) for _ in range(size)]
    inputs = torch.arange(len(of_point), dtype=torch.float32)[:, None]
    targets = torch.stack([torch.tensor(of_point, dtype=torch.float32), inputs[:, 0]], dim=1)
    splits: dict[Split, ClassTable] = {"train": table(0, 1, 2), "validation": table(3), "new": table(4, 5)}
    return Functions(
        "small", inputs, targets, splits,
        objective=Regression(2), shape=shape, bank_seed=0, reserved=3, fingerprint="f",
    )  # fmt: skip


@pytest.mark.parametrize("split", ["train", "validation", "new"])
def test_a_task_is_of_one_function_and_has_each_point_once(split: Split) -> None:
    for task in functions().tasks(split, range(20)):
        free = task.support.unlabelled
        assert isinstance(free, torch.Tensor) and len(task.support) == 2 and len(free) == 1
        both = torch.cat([task.support.targets, task.query.targets])
        assert len(set(both[:, 0].tolist())) == 1
        ids = [*both[:, 1].tolist(), *free[:, 0].tolist()]
        assert len(ids) == len(set(ids))
        assert torch.equal(task.query.inputs[:, 0], task.query.targets[:, 1])  # type: ignore[index]


def test_a_function_of_few_points_has_fewer_queries_alone_where_it_is_new() -> None:
    tasks = functions().tasks("new", range(40))
    queries = {int(task.query.targets[0, 0]): len(task.query) for task in tasks}
    assert queries == {4: 3, 5: 4}  # three of six points are reserved; of nine there are four and more


def test_queries_do_not_depend_on_k() -> None:
    more, fewer = functions(), functions(replace(SHAPE, k_shot=1))
    for one, other in zip(more.tasks("new", range(10)), fewer.tasks("new", range(10)), strict=True):
        assert torch.equal(one.query.targets, other.query.targets)
        assert torch.equal(one.support.targets[:1], other.support.targets)


@pytest.mark.parametrize(
    ("split", "shape", "reason"),
    [
        ("new", replace(SHAPE, n_way=2), "a regression has no classes; leave out n_way"),
        ("new", replace(SHAPE, n_query=0), "is not a task"),
        ("source_test", SHAPE, "no tasks are held out for source_test"),
        ("new", replace(SHAPE, k_shot=3), "4 points for support and unlabelled are too many on new"),
        ("train", replace(SHAPE, k_shot=7), "8 points .* too many on train, where a task has 8"),
    ],
)
def test_what_cannot_be_served_is_refused(split: Split, shape: TaskShape, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^small: .*{reason}"):
        functions(shape).tasks(split, [0])


def test_the_pool_holds_every_point_of_the_split() -> None:
    source = functions()
    pool = source.pool("new")
    every = pool.examples(torch.arange(len(pool)))
    assert pool.names == ("f4", "f5") and len(pool) == 15
    assert every.targets[:, 0].tolist() == [4.0] * 6 + [5.0] * 9
    with pytest.raises(ValueError, match="no tasks are held out"):
        source.pool("source_test")
    assert source.facts()["new"] == "2 tasks x 6 to 9 points"


def test_shapes_leave_out_the_number_of_examples() -> None:
    assert map_shapes(torch.zeros(3, 4, 5)) == (4, 5)
    assert map_shapes({"a": torch.zeros(3), "b": torch.zeros(3, 2)}) == {"a": (), "b": (2,)}
