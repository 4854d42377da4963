"""Few-shot classification tasks over a table of labelled examples (Vinyals et al. 2016, arXiv:1606.04080).

A task is a pure function of (bank seed, split, index): n_way classes in random order, and one random
order of the examples of each. Queries are taken from the front of that order, the support from its
back, unlabelled examples after the queries; so supports are nested over k_shot, and classes and
queries depend on neither k_shot nor n_unlabelled. Examples stand class by class.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.contents import raw_hash
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import (
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
from coldstart_cli.datasets.episodes.classes import ClassTable, queries_left, shortage, validation_of
from coldstart_cli.datasets.episodes.counter import Ids, Words, order, seeds, task_keys, words
from coldstart_cli.datasets.episodes.drawing import (
    SUPPORT_SEED,
    UNLABELLED,
    Parts,
    draw,
    draw_unequal,
    drawn_classes,
    drawn_unequal,
    origin_shortage,
    reserve_shortage,
    unequal_shortage,
    unlabelled_left,
)
from coldstart_cli.datasets.episodes.gathering import gather
from coldstart_cli.datasets.readers.equality import Hashes
from coldstart_cli.digests import Part, digest, tensor_parts
from coldstart_cli.errors import RequestError


@final
class Episodes(TaskSource):
    """Tasks drawn from labelled examples.

    Args:
        name: starts messages.
        inputs: every example once, (n, ...); uint8 images (n, C, H, W) stay uint8.
        splits: the classes of each split. `source_test` has the classes of `train` in the same order.
        shape: of its tasks; every number is per class.
        bank_seed: determines the tasks, not the data.
        shares_labels: every split has the classes of `train`, in the same order, or labels of them by number
            (domain shift).
        one_origin: the classes of a task have one origin, drawn anew for each task.
        reserved: where classes differ in size, the examples of each that queries of `validation` and `new`
            leave to support and unlabelled; a small class then has fewer queries. None: all have n_query.
        unequal: `shape` says how many classes and support examples a task has at most (with `one_origin` it
            has as many classes as its origin), and queries are half of a class, n_query at most.
        unshifted: validation tasks are of the source's own domain (`TaskSource.validation`).
        names: what the classes of each split are called, (n_classes, ...), as the model reads it;
            None where they have no names.
        nameless: see `TaskSource`.
        contents: (n,) a hash of each example as the files have it (`Task.raw_hash`), or None.

    Raises:
        RequestError: where `train`, if there is one, or `new` cannot serve the shape.
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
        one_origin: bool = False,
        reserved: int | None = None,
        unequal: bool = False,
        unshifted: bool = False,
        names: Mapping[Split, Inputs] | None = None,
        nameless: tuple[str, ...] = (),
        contents: Hashes | None = None,
    ) -> None:
        self.contents = contents
        self.name, self.shares_labels, self.has_source = name, shares_labels, "train" in splits
        self.validation = validation_of(splits, unshifted=unshifted)
        self.one_origin, self.reserved, self.unequal = one_origin, reserved, unequal
        self.inputs = map_inputs(Tensor.contiguous, inputs)
        self.splits, self.names = dict(splits), dict(names or {})
        self.named, self.nameless = names is not None, nameless
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
        shuffled, for their order would tell their classes; training tasks have as many as there are. With
        `reserved` they keep the prior: a common class has more of them than a rare one.
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
        n_way = int(shape.n_way or 0)
        if self.unequal:
            classes, counts = drawn_unequal(table, keys, n_way, one_origin=self.one_origin)
            parts = draw_unequal(table, classes, counts, keys, shape)
        else:
            classes, counts = drawn_classes(table, keys, n_way, one_origin=self.one_origin), None
            reserved = self._reserved(split)
            parts = draw(table, classes, keys, shape, reserved, keep_prior=reserved is not None)
        return self._assembled(split, indices, keys, table, classes, counts, parts)

    def pool(self, split: Split) -> Pool:
        """All examples of a split; those of source_test have the class ids of train.

        Raises:
            ValueError: where the split is empty.
        """
        if split not in self.splits:
            raise ValueError(self._absent(split))
        return _EpisodesPool(self.inputs, self.splits[split], self.names.get(split))

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        if split not in self.splits:
            return self._absent(split)
        where, table, reserved = f"{self.name}/{split}", self.splits[split], self._reserved(split)
        if self.unequal:
            return unequal_shortage(where, table, shape, one_origin=self.one_origin)
        if self.one_origin and (reason := origin_shortage(where, table, shape)) is not None:
            return reason
        if reserved is not None:
            return reserve_shortage(where, table, self._served(split, shape), reserved)
        return shortage(where, table, self._served(split, shape))

    def _reserved(self, split: Split) -> int | None:
        """Training tasks are stacked and need queries of one number; held-out examples are too few."""
        return self.reserved if split in ("validation", "new") else None

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
        reason = self.refusal("train", shape) if self.has_source else None
        return reason or self.refusal("new", shape)

    def _absent(self, split: Split) -> str:
        return f"{self.name}: no examples are held out for {split}; hold some out in the data set's settings"

    def _served(self, split: Split, shape: TaskShape) -> TaskShape:
        """What the split gives: training tasks as many unlabelled examples as there are.

        Few examples are held out for validation and source_test: better a task with fewer queries than
        none; the same where classes differ in size. New tasks have what is asked, or are refused.
        """
        if self.unequal:
            return shape
        if split == "train":
            beside = shape.k_shot + (0 if self.splits[split].groups is not None else shape.n_query)
            left = self.splits[split].room[0] - beside
            shape = replace(shape, n_unlabelled=max(0, min(shape.n_unlabelled, left)))
        reserved = self._reserved(split)
        if split == "validation" and reserved is not None and shape.n_unlabelled:
            # A small validation share bounds its own tasks, never those of the new domain.
            room = unlabelled_left(self.splits[split], shape, reserved)
            shape = replace(shape, n_unlabelled=max(1, min(shape.n_unlabelled, room)))
        whole = split == "new" or (split == "train" and self.reserved is None)
        if whole or self._reserved(split) is not None or shape.n_query < 1:
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
        counts: Ids | None,
        parts: Parts,
    ) -> list[Task]:
        """One gather a part for the whole batch; tasks are views of it."""
        n_tasks, n_way = classes.shape
        turns = None if table.quarter_turns is None else table.quarter_turns[classes]
        free = parts.unlabelled
        if parts.free is not None:
            free = free[parts.free].reshape(n_tasks, 1, -1)
        shuffle = order(words(keys, UNLABELLED, free.shape[1] * free.shape[2]))
        support = self._gathered(parts.support, turns, None)
        query = self._gathered(parts.query, turns, None)
        unlabelled = self._gathered(free, turns, shuffle)
        support_targets = _targets(n_tasks, n_way, parts.support.shape[2])
        query_targets = _targets(n_tasks, n_way, parts.query.shape[2])
        supports = _those(list(map(Examples, support, support_targets)), parts.known)
        queries = _those(list(map(Examples, query, query_targets)), parts.asked)
        raw = self._raw_hashes(split, parts, supports, queries)
        ways = [n_way] * n_tasks if counts is None else counts.tolist()
        has_unlabelled, names = free.size > 0, self.names.get(split)
        return [
            Task(
                Support(
                    supports[i].inputs,
                    supports[i].targets,
                    Classification(ways[i]),
                    seed,
                    unlabelled[i] if has_unlabelled else None,
                    torch.from_numpy(table.label_of[classes[i, : ways[i]]]) if self.shares_labels else None,
                    None if names is None else _rows(names, classes[i, : ways[i]]),
                ),
                queries[i],
                f"{split}/{index}",
                table.cluster(classes[i, 0]) if self.one_origin else None,
                raw[i],
            )
            for i, (index, seed) in enumerate(zip(indices, seeds(keys, SUPPORT_SEED), strict=True))
        ]

    def _raw_hashes(
        self, split: Split, parts: Parts, supports: Sequence[Examples], queries: Sequence[Examples]
    ) -> Sequence[str | None]:
        """`Task.raw_hash` of each; tasks to learn from are compared by nobody."""
        if self.contents is None or split == "train":
            return [None] * len(supports)
        known, asked = _chosen(parts.support, parts.known), _chosen(parts.query, parts.asked)
        return [
            raw_hash(self.contents[known[i]], self.contents[asked[i]], support.targets, query.targets)
            for i, (support, query) in enumerate(zip(supports, queries, strict=True))
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

    def __init__(self, inputs: Inputs, table: ClassTable, names: Inputs | None) -> None:
        self.objective = Classification(table.n_labels)
        known, first = np.unique(table.label_of, return_index=True)
        if names is not None and len(known) == table.n_labels:  # all classes of one label have its name
            self.read_names = _rows(names, first)
        shared = table.labels is not None  # a label of several origins has no one origin
        self.groups, self.names = (), table.label_names
        if not shared:
            self.groups, self.names = table.origins, table.names
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


def _those(examples: list[Examples], chosen: NDArray[np.bool_] | None) -> list[Examples]:
    """Of each task's examples those that are `chosen` (n_tasks, n_way, per_class); None: all."""
    if chosen is None:
        return examples
    return [e.take(torch.from_numpy(np.flatnonzero(c))) for e, c in zip(examples, chosen, strict=True)]


def _chosen(ids: NDArray[np.int32], chosen: NDArray[np.bool_] | None) -> Sequence[NDArray[np.int32]]:
    """The ids of each task's examples that are `chosen`, flat; None: all."""
    return [of_task[... if chosen is None else chosen[i]].reshape(-1) for i, of_task in enumerate(ids)]


def _rows(inputs: Inputs, rows: Ids) -> Inputs:
    at = torch.from_numpy(rows)
    return map_inputs(lambda tensor: tensor[at], inputs)


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
    return digest(itertools.chain(tensor_parts(inputs), _split_parts(splits)))


def _split_parts(splits: Mapping[Split, ClassTable]) -> Iterator[Part]:
    for split, table in sorted(splits.items()):
        yield f"{split} {(len(table), table.widest)} {table.n_groups}"
        yield from table.dense_parts(table.ids)
        yield table.sizes
        yield from ["-"] if table.groups is None else table.dense_parts(table.groups)
        yield "-" if table.quarter_turns is None else table.quarter_turns
        if table.labels is not None:
            yield table.labels
