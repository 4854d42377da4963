"""Few-shot classification tasks over a table of labelled examples (Vinyals et al. 2016, arXiv:1606.04080).

A task is a pure function of (bank seed, split, index): n_way classes in random order, and one random
order of the examples of each. Queries are taken from the front of that order, the support from its
back, unlabelled examples after the queries; so supports are nested over k_shot, and classes and
queries depend on neither k_shot nor n_unlabelled. Examples stand class by class.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core import (
    Examples,
    Inputs,
    Pool,
    Split,
    Support,
    Task,
    TaskShape,
    TaskSource,
    map_inputs,
)
from coldstart_cli.datasets.classes import ClassTable, queries_left, shortage
from coldstart_cli.datasets.counter import Ids, Words, distinct, order, seeds, task_keys, words
from coldstart_cli.datasets.gathering import gather
from coldstart_cli.errors import RequestError
from coldstart_cli.objectives import Classification

# Streams of the counter: every kind of choice has its own, so that none moves another.
_CLASSES, _GROUPS, _EXAMPLES, _UNLABELLED, _SUPPORT_SEED = range(5)
_TOP_BIT = np.uint64(1 << 63)
_LAST = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Example ids of a batch of tasks: (n_tasks, n_way, k_shot | n_query | n_unlabelled)."""

    support: NDArray[np.int32]
    query: NDArray[np.int32]
    unlabelled: NDArray[np.int32]


@final
class Episodes(TaskSource):
    """Tasks drawn from labelled examples.

    Args:
        name: starts messages.
        inputs: every example once, (n, ...); uint8 images (n, C, H, W) stay uint8.
        splits: the classes of each split. `source_test` has the classes of `train` in the same order.
        shape: of its tasks; every number is per class.
        bank_seed: determines the tasks, not the data.
        shares_labels: every split has the classes of `train`, in the same order (domain shift).

    Raises:
        RequestError: where `train` or `new` cannot serve the shape.
    """

    def __init__(
        self,
        name: str,
        inputs: Inputs,
        splits: Mapping[Split, ClassTable],
        *,
        shape: TaskShape,
        bank_seed: int,
        shares_labels: bool = False,
    ) -> None:
        self.name, self.shares_labels = name, shares_labels
        self.inputs = map_inputs(Tensor.contiguous, inputs)
        self.splits = dict(splits)
        self.shape = shape
        self.bank_seed = bank_seed
        self.fingerprint = _fingerprint(inputs, splits)
        self.input_shape = (
            tuple(inputs.shape[1:])
            if isinstance(inputs, Tensor)
            else {key: tuple(tensor.shape[1:]) for key, tensor in inputs.items()}
        )
        reason = self._shortage(shape)
        if reason is not None:
            raise RequestError(f"dataset: {reason}")

    @property
    def objective(self) -> Classification:
        return Classification(int(self.shape.n_way or 0))

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """Tasks number `indices`: support (n_way * k_shot, ...), query (n_way * n_query, ...).

        Targets are 0 0 .. 1 1 ..: class by class. Unlabelled inputs are (n_way * n_unlabelled, ...),
        shuffled, for their order would tell their classes; training tasks have as many as there are.
        On validation and source_test n_query is cut down to what is there.

        Raises:
            ValueError: where the split cannot serve the shape.
        """
        reason = self.refusal(split, self.shape)
        if reason is not None:
            raise ValueError(reason)
        if not len(indices):
            return []
        table = self.splits[split]
        shape = self._served(split, self.shape)
        keys = task_keys(self.bank_seed, split, indices)
        classes = distinct(keys, _CLASSES, int(shape.n_way or 0), len(table))
        return self._assembled(split, indices, keys, table, classes, _draw(table, classes, keys, shape))

    def pool(self, split: Split) -> Pool:
        """All examples of a split; those of source_test have the class ids of train.

        Raises:
            ValueError: where the split is empty.
        """
        if split not in self.splits:
            raise ValueError(self._absent(split))
        return _EpisodesPool(self.inputs, self.splits[split])

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        if split not in self.splits:
            return self._absent(split)
        return shortage(f"{self.name}/{split}", self.splits[split], self._served(split, shape))

    def with_shape(self, shape: TaskShape) -> Episodes:
        reasons = [self.refusal(split, shape) for split in ("train", "new")]
        if None not in reasons:  # tasks to learn from and tasks to be judged by may differ in shape
            raise ValueError(reasons[0])
        view = copy.copy(self)
        view.shape = shape
        return view

    def facts(self) -> dict[str, str]:
        return {split: _described(table) for split, table in self.splits.items()}

    def _shortage(self, shape: TaskShape) -> str | None:
        """Why there is no learning, or no cold start, with tasks of this shape; or None."""
        return self.refusal("train", shape) or self.refusal("new", shape)

    def _absent(self, split: Split) -> str:
        return f"{self.name}: no examples are held out for {split}; hold some out in the data set's settings"

    def _served(self, split: Split, shape: TaskShape) -> TaskShape:
        """What the split gives: training tasks as many unlabelled examples as there are.

        Few examples are held out for validation and source_test: better a task with fewer queries than
        none. New tasks have what is asked, or are refused.
        """
        if split == "train":
            beside = shape.k_shot + (0 if self.splits[split].groups is not None else shape.n_query)
            left = self.splits[split].room[0] - beside
            return replace(shape, n_unlabelled=max(0, min(shape.n_unlabelled, left)))
        if split == "new" or shape.n_query < 1:
            return shape
        left = queries_left(self.splits[split], shape)
        return replace(shape, n_query=max(1, min(shape.n_query, left)))

    def _assembled(
        self,
        split: Split,
        indices: Sequence[int],
        keys: Words,
        table: ClassTable,
        classes: Ids,
        parts: _Parts,
    ) -> list[Task]:
        """One gather a part for the whole batch; tasks are views of it."""
        n_tasks, n_way = classes.shape
        turns = None if table.quarter_turns is None else table.quarter_turns[classes]
        shuffle = order(words(keys, _UNLABELLED, n_way * parts.unlabelled.shape[2]))
        support = self._gathered(parts.support, turns, None)
        query = self._gathered(parts.query, turns, None)
        unlabelled = self._gathered(parts.unlabelled, turns, shuffle)
        support_targets = _targets(n_tasks, n_way, parts.support.shape[2])
        query_targets = _targets(n_tasks, n_way, parts.query.shape[2])
        objective = Classification(n_way)
        has_unlabelled = parts.unlabelled.size > 0
        return [
            Task(
                Support(
                    support[i],
                    support_targets[i],
                    objective,
                    seed,
                    unlabelled[i] if has_unlabelled else None,
                    torch.from_numpy(classes[i]) if self.shares_labels else None,
                ),
                Examples(query[i], query_targets[i]),
                f"{split}/{index}",
            )
            for i, (index, seed) in enumerate(zip(indices, seeds(keys, _SUPPORT_SEED), strict=True))
        ]

    def _gathered(self, ids: NDArray[np.int32], turns: Ids | None, shuffle: Ids | None) -> Sequence[Inputs]:
        """The inputs (n_way * per_class, ...) of each task. ids (n_tasks, n_way, per_class)."""
        rows = ids.reshape(len(ids), -1)
        row_turns = None if turns is None else np.repeat(turns, ids.shape[2], axis=1)
        if shuffle is not None:
            rows = np.take_along_axis(rows, shuffle, axis=1)
            row_turns = None if row_turns is None else np.take_along_axis(row_turns, shuffle, axis=1)
        return _views(gather(self.inputs, rows, row_turns), len(ids))


@final
class _EpisodesPool(Pool):
    """The examples of a table, class by class."""

    def __init__(self, inputs: Inputs, table: ClassTable) -> None:
        self.objective, self.groups, self.names = Classification(len(table)), table.origins, table.names
        self._inputs = inputs
        ids, labels, turns = table.flat()
        self._ids, self._turns = ids, turns
        self._labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self._ids)

    def examples(self, indices: Tensor) -> Examples:
        chosen = indices.cpu().numpy()
        turns = None if self._turns is None else self._turns[chosen]
        inputs = gather(self._inputs, self._ids[chosen], turns)
        return Examples(inputs, self._labels[indices.cpu()].long())


def _draw(table: ClassTable, classes: Ids, keys: Words, shape: TaskShape) -> _Parts:
    """Example ids of each task. classes (n_tasks, n_way)."""
    members, sizes = table.members[classes], table.sizes[classes]
    priorities = words(keys, _EXAMPLES, *members.shape[1:])
    first_unlabelled = np.full_like(sizes, shape.n_query)
    if table.groups is not None:
        supports = _support_side(table, classes, keys)
        # The top bit sends the examples of the support side behind those of the query side.
        priorities = (priorities & ~_TOP_BIT) | (supports.astype(np.uint64) << np.uint64(63))
        first_unlabelled = sizes - supports.sum(axis=-1)
    if int(table.sizes.min()) < members.shape[-1]:
        priorities = np.where(np.arange(members.shape[-1]) < sizes[..., None], priorities, _LAST)
    shuffled: NDArray[np.int32] = np.take_along_axis(members, order(priorities), axis=-1)
    back = sizes[..., None] - 1 - np.arange(shape.k_shot)
    between = first_unlabelled[..., None] + np.arange(shape.n_unlabelled)
    return _Parts(
        support=np.take_along_axis(shuffled, back, axis=-1),
        query=shuffled[..., : shape.n_query],
        unlabelled=np.take_along_axis(shuffled, between, axis=-1),
    )


def _support_side(table: ClassTable, classes: Ids, keys: Words) -> NDArray[np.bool_]:
    """Whether each example is on the support side, (n_tasks, n_way, widest); groups are drawn by task."""
    assert table.groups is not None
    ranked = order(words(keys, _GROUPS, table.n_groups))
    chosen = np.zeros((len(keys), table.n_groups), dtype=np.bool_)
    np.put_along_axis(chosen, ranked[:, : table.n_support_groups], True, axis=1)
    groups = table.groups[classes]
    side = np.take_along_axis(chosen, groups.reshape(len(keys), -1).astype(np.int64), axis=1)
    return side.reshape(groups.shape) & table.filled()[classes]


def _views(inputs: Inputs, n_tasks: int) -> Sequence[Inputs]:
    if isinstance(inputs, Tensor):
        return inputs.unbind(0)
    views = {name: tensor.unbind(0) for name, tensor in inputs.items()}
    return [{name: views[name][i] for name in views} for i in range(n_tasks)]


def _targets(n_tasks: int, n_way: int, per_class: int) -> Sequence[Tensor]:
    """(n_way * per_class,) of each task, class by class."""
    return torch.arange(n_way).repeat_interleave(per_class).repeat(n_tasks, 1).unbind(0)


def _described(table: ClassTable) -> str:
    least, most = int(table.sizes.min()), int(table.sizes.max())
    return f"{len(table)} classes x {least if least == most else f'{least} to {most}'} examples"


def _fingerprint(inputs: Inputs, splits: Mapping[Split, ClassTable]) -> str:
    digest = hashlib.sha256()
    named = {"": inputs} if isinstance(inputs, Tensor) else inputs
    for name, tensor in sorted(named.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    for split, table in sorted(splits.items()):
        digest.update(f"{split} {table.members.shape} {table.n_groups}".encode())
        for part in (table.members, table.sizes, table.groups, table.quarter_turns):
            digest.update(b"-" if part is None else part.tobytes())
    return digest.hexdigest()[:16]
