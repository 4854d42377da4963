"""Tasks of another source, each seen through something of its own: a camera's style, a device's noise."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, final

import torch
from torch import Tensor

from coldstart_cli.core.tasks import Examples, Inputs, Objective, Pool, Split, Task, TaskShape, TaskSource
from coldstart_cli.datasets.episodes.counter import Words, task_keys
from coldstart_cli.digests import digest

SUPPORT, QUERY, UNLABELLED, ALONE = range(1, 5)
"""Parts of a task; `ALONE` are examples of a pool."""


class Change(Protocol):
    """What a task does to its inputs."""

    name: str

    def __call__(self, key: Words, part: int, inputs: Tensor, numbers: Sequence[int]) -> Tensor:
        """Changed inputs, (n, ...) -> (n, ...). Pure.

        Args:
            key: (1,) of the task; with it alone, or with the number of an example, all is drawn.
            part: SUPPORT, QUERY, UNLABELLED or ALONE.
            numbers: of the examples in the part, so that an example's noise does not depend on k.
        """

    def digest(self) -> str:
        """Of all that it depends on."""


@final
class PerTask(TaskSource):
    """A source whose every task changes its inputs in a way of its own.

    In the pool each example is changed as if it were of a task by itself.

    Args:
        base: its tasks' inputs are one tensor.
        change: is drawn for each task.
        bank_seed: determines the changes.
    """

    def __init__(self, base: TaskSource, change: Change, bank_seed: int) -> None:
        assert isinstance(base.input_shape, tuple)
        self.base, self.change, self.bank_seed = base, change, bank_seed
        self.shares_labels, self.unequal = base.shares_labels, base.unequal
        self.validation, self.has_source = base.validation, base.has_source
        self.input_shape, self.shape = base.input_shape, base.shape
        self.fingerprint = digest([base.fingerprint, change.digest()])

    @property
    def objective(self) -> Objective:
        return self.base.objective

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """Those of `base`, changed."""
        keys = task_keys(self.bank_seed, split, indices)
        return [self._changed(task, keys[[i]]) for i, task in enumerate(self.base.tasks(split, indices))]

    def pool(self, split: Split) -> Pool:
        return _ChangedPool(self.base.pool(split), self.change, split, self.bank_seed)

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        return self.base.refusal(split, shape)

    def with_shape(self, shape: TaskShape) -> PerTask:
        view = copy.copy(self)
        view.base = self.base.with_shape(shape)
        view.shape = view.base.shape
        return view

    def facts(self) -> dict[str, str]:
        return {
            split: f"{fact}, {self.change.name} of each task" for split, fact in self.base.facts().items()
        }

    def _changed(self, task: Task, key: Words) -> Task:
        support, query = task.support, task.query
        free = support.unlabelled
        return replace(
            task,
            support=replace(
                support,
                inputs=self._seen(key, SUPPORT, support.inputs, _by_shot(support)),
                unlabelled=None if free is None else self._seen(key, UNLABELLED, free, None),
            ),
            query=Examples(self._seen(key, QUERY, query.inputs, _by_shot(query)), query.targets),
        )

    def _seen(self, key: Words, part: int, inputs: Inputs, numbers: Sequence[int] | None) -> Tensor:
        assert isinstance(inputs, Tensor)
        return self.change(key, part, inputs, range(len(inputs)) if numbers is None else numbers)


def _by_shot(examples: Examples) -> list[int]:
    """A number for each example that is the same for every k: the first of every class, then the second.

    Each class has a range of its own numbers, for classes may differ in size.
    """
    targets = examples.targets.tolist()
    seen: dict[int, int] = {}
    numbers = []
    for target in targets:
        shot = seen.get(target, 0)
        seen[target] = shot + 1
        numbers.append((target << 20) + shot)
    return numbers


@final
class _ChangedPool(Pool):
    def __init__(self, base: Pool, change: Change, split: Split, bank_seed: int) -> None:
        self.objective, self.groups, self.names = base.objective, base.groups, base.names
        self.read_names = base.read_names
        self._base, self._change, self._split, self._bank_seed = base, change, split, bank_seed
        if base.queries is not None:
            self.queries = self._changed(base.queries, range(len(base), len(base) + len(base.queries)))

    def __len__(self) -> int:
        return len(self._base)

    def examples(self, indices: Tensor) -> Examples:
        return self._changed(self._base.examples(indices), indices.tolist())

    def _changed(self, examples: Examples, numbers: Sequence[int]) -> Examples:
        keys = task_keys(self._bank_seed, self._split, numbers)
        inputs = examples.inputs
        assert isinstance(inputs, Tensor)
        seen = [self._change(keys[[i]], ALONE, inputs[[i]], [0]) for i in range(len(inputs))]
        return Examples(torch.cat(seen), examples.targets)
