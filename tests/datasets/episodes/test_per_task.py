"""A source whose tasks are each seen through something of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.episodes.counter import Words, words
from coldstart_cli.datasets.episodes.per_task import PerTask
from tests.kit.small_sources import episodes


class Shift:
    """Adds a number of the task, and the number of an example."""

    name = "a shift"

    def __call__(self, key: Words, part: int, inputs: Tensor, numbers: Sequence[int]) -> Tensor:
        drawn = float(words(key, 0, 1)[0, 0] % 1000) * 1000
        return inputs.float() + drawn + torch.tensor([float(n % 7) for n in numbers]).view(-1, 1, 1, 1)

    def digest(self) -> str:
        return "shift"


def test_all_of_a_task_is_changed_alike_and_pure() -> None:
    base = episodes()
    source = PerTask(base, Shift(), 0)
    plain, changed, again = (s.tasks("new", [0, 1, 2]) for s in (base, source, source))
    for before, after, same in zip(plain, changed, again, strict=True):
        assert torch.equal(after.query.inputs, same.query.inputs)  # type: ignore[arg-type]
        moved = after.query.inputs - before.query.inputs.float()  # type: ignore[operator, union-attr]
        assert float(moved.max() - moved.min()) <= 6
        assert torch.equal(before.query.targets, after.query.targets) and before.name == after.name
    moved = [c.query.inputs - p.query.inputs.float() for c, p in zip(changed, plain, strict=True)]  # type: ignore[operator, union-attr]
    assert len({float(by.min()) for by in moved}) == 3


def test_its_pool_changes_each_example_by_itself() -> None:
    base = episodes()
    pool, plain = PerTask(base, Shift(), 0).pool("train"), base.pool("train")
    indices = torch.tensor([0, 5, 9])
    moved = pool.examples(indices).inputs - plain.examples(indices).inputs.float()  # type: ignore[operator, union-attr]
    assert len(moved.flatten(1)[:, 0].unique()) == 3
    assert pool.groups == plain.groups and pool.names == plain.names and len(pool) == len(plain)


def test_its_shape_and_facts_are_those_of_its_base() -> None:
    source = PerTask(episodes(), Shift(), 0)
    smaller = source.with_shape(TaskShape(2, 1, 1, 0))
    assert smaller.shape.n_way == 2 and smaller.tasks("new", [0])[0].support.targets.tolist() == [0, 1]
    assert source.shape.n_way == 3
    assert source.facts()["new"].endswith(", a shift of each task")
    assert source.fingerprint != episodes().fingerprint
    assert source.refusal("new", TaskShape(99, 1, 1, 0)) is not None
