"""Small sources for tests of the audit: clean ones, and ones that a test tampers with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from coldstart_cli.core.tasks import Inputs, Objective, Pool, Split, Task, TaskShape, TaskSource
from coldstart_cli.datasets.benchmarks.synthetic import Sinusoid
from coldstart_cli.datasets.episodes.classes import ClassTable, class_table
from coldstart_cli.datasets.episodes.episodes import Episodes

SHAPE = TaskShape(3, 1, 2, 2)
PER_CLASS = 12
Change = Callable[[Task, Split, TaskShape, int], Task]


def images(n: int) -> Tensor:
    """Noise, (n, 1, 5, 5): no two are alike, however they are turned."""
    return torch.randint(0, 256, (n, 1, 5, 5), generator=torch.Generator().manual_seed(n)).to(torch.uint8)


def split_table(numbers: Sequence[int], places: Sequence[int], *, named: bool = True) -> ClassTable:
    """Classes `numbers` with their examples at `places`; class c has examples 12 c to 12 c + 11."""
    ids = [[PER_CLASS * number + place for place in places] for number in numbers]
    names = [f"c{number}" for number in numbers] if named else []
    groups = ["even" if number % 2 == 0 else "odd" for number in numbers]
    return class_table(ids, group_of=None, quarter_turns=None, origins=groups, names=names)


def splits(*, named: bool = True) -> dict[Split, ClassTable]:
    """Classes 0 to 3 train and are held out in part, 4 to 7 validate, 8 to 11 are new."""
    every = range(PER_CLASS)
    return {
        "train": split_table(range(4), every[:8], named=named),
        "validation": split_table(range(4, 8), every, named=named),
        "source_test": split_table(range(4), every[8:], named=named),
        "new": split_table(range(8, 12), every, named=named),
    }


def episodes(
    tables: dict[Split, ClassTable] | None = None,
    *,
    inputs: Tensor | None = None,
    shares_labels: bool = False,
    shape: TaskShape = SHAPE,
) -> Episodes:
    inputs = images(12 * PER_CLASS) if inputs is None else inputs
    return Episodes(
        "small", inputs, tables or splits(), shape=shape, bank_seed=0, shares_labels=shares_labels
    )


def shifted() -> Episodes:
    """Classes 0 to 3 in every split, by other examples: a shift of domain."""
    places = {"train": range(8), "validation": range(12, 24), "source_test": range(8, 12)}
    tables: dict[Split, ClassTable] = {
        split: split_table(range(0, 12, 3), places.get(split, range(24, 36)))
        for split in ("train", "validation", "source_test", "new")
    }
    return episodes(tables, shares_labels=True)


def sinusoid(*, pool_tasks: int = 20, pool_points: int = 4) -> Sinusoid:
    return Sinusoid(
        bank_seed=0,
        k_shot=5,
        n_query=5,
        n_unlabelled=3,
        amplitude=[0.1, 5.0],
        phase=[0.0, 3.0],
        frequency=[1.0, 1.0],
        x_range=[-5.0, 5.0],
        noise=0.0,
        relative_noise=0.0,
        n_functions=None,
        pool_tasks=pool_tasks,
        pool_points=pool_points,
    )


class Tampered(TaskSource):
    """Another source with tasks that are changed: change(task, split, shape, tasks drawn at a time)."""

    def __init__(self, source: TaskSource, change: Change) -> None:
        self.source, self.change = source, change
        self.shape, self.fingerprint = source.shape, source.fingerprint
        self.input_shape, self.shares_labels = source.input_shape, source.shares_labels

    @property
    def objective(self) -> Objective:
        return self.source.objective

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        drawn = self.source.tasks(split, indices)
        return [self.change(task, split, self.shape, len(indices)) for task in drawn]

    def pool(self, split: Split) -> Pool:
        return self.source.pool(split)

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        return self.source.refusal(split, shape)

    def with_shape(self, shape: TaskShape) -> Tampered:
        return Tampered(self.source.with_shape(shape), self.change)

    def facts(self) -> dict[str, str]:
        return self.source.facts()


def tensor(inputs: Inputs | None) -> Tensor:
    assert isinstance(inputs, Tensor)
    return inputs


def with_first(inputs: Inputs | None, first: Tensor) -> Tensor:
    """The inputs, with another example in the first place."""
    return torch.cat([first[None], tensor(inputs)[1:]])


def with_query(task: Task, inputs: Tensor) -> Task:
    return replace(task, query=replace(task.query, inputs=inputs))


def with_support(task: Task, **changes: object) -> Task:
    return replace(task, support=replace(task.support, **changes))
