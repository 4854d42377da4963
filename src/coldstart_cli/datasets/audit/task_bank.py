"""The task bank: tasks are determined by (bank seed, split, index), and this is checked on a sample.

Inside every task support, query and unlabelled must be disjoint by content and labels must be consistent;
the same index must give the same task in any batch; supports must be nested over k, with the same queries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.contents import content_hash
from coldstart_cli.core.tasks import Examples, Split, Task, TaskShape, TaskSource
from coldstart_cli.datasets.audit.contents import Holding, Lookup, coincidences, is_regression
from coldstart_cli.datasets.audit.findings import BankRow, Finding, Leaks, counted, finding
from coldstart_cli.datasets.readers.equality import Hashes, hashes_of
from coldstart_cli.digests import Part, digest, tensor_parts
from coldstart_cli.metrics.measures import bank_digest

BATCH = 8
"""Tasks that are drawn at a time."""
N_REDRAWN = 8
"""Tasks of each use that are drawn again, one by one."""
N_NESTED = 16
"""Tasks of each split that are drawn at every k."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The first `n_tasks` tasks that a run draws; uses: `training`, `validation`, `evaluation`."""

    uses: tuple[str, ...]
    split: Split
    shape: TaskShape
    n_tasks: int


def described(shape: TaskShape) -> str:
    """`5-way 1-shot, 15 queries`."""
    unlabelled = f", {shape.n_unlabelled} unlabelled" if shape.n_unlabelled else ""
    kind = counted(shape.k_shot, "point") if shape.n_way is None else f"{shape.n_way}-way {shape.k_shot}-shot"
    return f"{kind}, {counted(shape.n_query, 'query')}{unlabelled}"


def in_shape(source: TaskSource, shape: TaskShape) -> TaskSource:
    return source if shape == source.shape else source.with_shape(shape)


class BankAudit:
    """Draws tasks and keeps what is wrong with them.

    Args:
        source: whose tasks are drawn.
        held: all its examples.
        declared: hashes of duplicates that its YAML lists.
    """

    def __init__(self, source: TaskSource, held: Sequence[Holding], declared: Hashes) -> None:
        self.source, self.declared = source, declared
        self.regression = is_regression(source)
        self.known = [(holding, Lookup(holding)) for holding in held]
        self.names = next((holding.names for holding in held if holding.where == "train"), ())
        self.disjoint, self.labels, self.strangers, self.impure = Leaks(), Leaks(), Leaks(), Leaks()
        self.n_tasks = self.n_examples = self.n_pooled = self.n_redrawn = 0

    def draw(self, asked: Asked) -> BankRow:
        """Draws and checks the tasks, then some of them again."""
        n_tasks = asked.n_tasks
        view, place = in_shape(self.source, asked.shape), f"({described(asked.shape)})"
        hashes, digests = [], []
        for start in range(0, n_tasks, BATCH):
            for task in view.tasks(asked.split, range(start, min(start + BATCH, n_tasks))):
                self._check(task, asked, place)
                hashes.append(content_hash(task))
                digests.append(_seen(task, hashes[-1]))
        for index in sorted({n_tasks - 1 - i * n_tasks // N_REDRAWN for i in range(N_REDRAWN)}, reverse=True):
            self.n_redrawn += 1
            task = view.tasks(asked.split, [index])[0]
            if _seen(task, content_hash(task)) != digests[index]:
                self.impure.add(f"{asked.split}/{index} {place}: is another task when it is drawn alone")
        return BankRow(
            asked.uses, asked.split, described(asked.shape), n_tasks, len(set(hashes)), bank_digest(hashes)
        )

    def findings(self) -> list[Finding]:
        tasks, examples = counted(self.n_tasks, "task"), counted(self.n_examples, "example")
        labels = ("", "a regression has no classes") if self.regression else (tasks, "")
        pooled = "" if self.n_pooled else "tasks draw or change theirs: no pool holds one"
        again = f"{counted(self.n_redrawn, 'task')} drawn again"
        return [
            finding(
                "no example is twice in a task: support, query, unlabelled",
                f"{tasks}, {examples}",
                self.disjoint,
                "",
            ),
            finding("labels of a task are consistent", labels[0], self.labels, labels[1]),
            finding("tasks have examples of their own split alone", examples, self.strangers, pooled),
            finding("a task is the same in any batch", again, self.impure, ""),
        ]

    def _check(self, task: Task, asked: Asked, place: str) -> None:
        unlabelled = task.support.unlabelled
        parts = {
            "support": hashes_of(task.support.inputs, None),
            "query": hashes_of(task.query.inputs, None),
            "unlabelled": np.empty(0, dtype=np.uint64) if unlabelled is None else hashes_of(unlabelled, None),
        }
        self.n_tasks += 1
        self.n_examples += sum(len(hashes) for hashes in parts.values())
        where = f"{task.name} {place}"
        twice = [pair for pair, hashed in _twice(parts) if hashed not in self.declared]
        if len(twice) > coincidences(self.source, sum(map(len, parts.values()))):
            more = f", and {len(twice) - 1} more" if len(twice) > 1 else ""
            self.disjoint.add(f"{where}: {twice[0]}{more}")
        if not self.regression:
            wrong = self._mislabelled(task, asked, parts)
            if wrong:
                self.labels.add(f"{where}: {wrong}")
        else:  # the pool knows points with their targets
            parts = {
                "support": hashes_of(task.support.inputs, task.support.targets),
                "query": hashes_of(task.query.inputs, task.query.targets),
            }
        self._find_strangers(asked.split, parts, where)

    def _find_strangers(self, split: Split, parts: dict[str, Hashes], where: str) -> None:
        found = []
        for part, hashes in parts.items():
            at_home = np.zeros(len(hashes), dtype=np.bool_)
            for holding, lookup in self.known:
                if holding.split == split:
                    at_home |= lookup.has(hashes)
            self.n_pooled += int(at_home.sum())
            for holding, lookup in self.known:
                if holding.split != split:
                    strangers = np.flatnonzero(lookup.has(hashes) & ~at_home)
                    found += [f"{part} {number} is one of {holding.where}" for number in strangers]
        if len(found) > coincidences(self.source, sum(map(len, parts.values()))):
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            self.strangers.add(f"{where}: {found[0]}{more}")

    def _mislabelled(self, task: Task, asked: Asked, parts: dict[str, Hashes]) -> str | None:
        """What is wrong with the labels of a task, or None."""
        shape, support = asked.shape, task.support
        unequal = self.source.unequal
        n_way = support.objective.n_outputs if unequal else int(shape.n_way or 0)
        labels = np.concatenate([_numbers(support.targets), _numbers(task.query.targets)])
        if len(labels) and not 0 <= labels.min() <= labels.max() < n_way:
            return f"labels {labels.min()} to {labels.max()} in a {n_way}-way task"
        counts = np.bincount(_numbers(support.targets), minlength=n_way)
        wrong = (counts < 1) | (counts > shape.k_shot) if unequal else counts != shape.k_shot
        if wrong.any():
            label = int(np.flatnonzero(wrong)[0])
            return f"class {label} has {counts[label]} support examples, not {shape.k_shot}"
        hashes = np.concatenate([parts["support"], parts["query"]])
        order = np.argsort(hashes, kind="stable")
        same = hashes[order][1:] == hashes[order][:-1]
        torn = np.flatnonzero(same & (labels[order][1:] != labels[order][:-1]))
        if len(torn):
            one, other = labels[order][torn[0]], labels[order][torn[0] + 1]
            return f"one example has the labels {one} and {other}"
        return self._misplaced(task, asked, hashes, labels)

    def _misplaced(self, task: Task, asked: Asked, hashes: Hashes, labels: NDArray[np.int64]) -> str | None:
        """Whether a label of the task is one class of its split's pool, and which the task says it is."""
        own = [(holding, lookup) for holding, lookup in self.known if holding.split == asked.split]
        class_of: dict[int, int] = {}
        names: tuple[str, ...] = ()
        for holding, lookup in own:
            names = names or holding.names
            found = lookup.labels_of(hashes)
            for label, number in {*zip(labels[found >= 0].tolist(), found[found >= 0].tolist(), strict=True)}:
                if class_of.setdefault(label, number) != number:
                    return f"label {label} stands for classes {class_of[label]} and {number} of {asked.split}"
        if len({*class_of.values()}) < len(class_of):
            return f"two labels stand for one class of {asked.split}"
        if not self.source.shares_labels:
            return None
        if task.support.source_classes is None:
            return "it does not say which source classes it has, and labels are shared"
        for label, said in enumerate(task.support.source_classes.tolist()):
            number = class_of.get(label)
            if number is not None and names and self.names and names[number] != self.names[said]:
                return f"label {label} is said to be {self.names[said]} and is {names[number]}"
        return None


def _twice(parts: dict[str, Hashes]) -> Iterator[tuple[str, np.uint64]]:
    """(in words, hash) of every example of a task that is there more than once."""
    hashes = np.concatenate(list(parts.values()))
    names = [(part, number) for part, hashed in parts.items() for number in range(len(hashed))]
    order = np.argsort(hashes, kind="stable")
    for place in np.flatnonzero(hashes[order][1:] == hashes[order][:-1]).tolist():
        (one, i), (other, j) = names[order[place]], names[order[place + 1]]
        yield f"{other} {j} equals {one} {i}", hashes[order[place]]


def nested(source: TaskSource, split: Split, shape: TaskShape, k_shots: Sequence[int]) -> Leaks:
    """Compares tasks at one k with the same tasks at the next larger one.

    Where few examples are held out, a larger k leaves room for fewer queries: then those are the first ones
    of each class. New tasks have all they were asked for.
    """
    leaks = Leaks()
    before: list[_Sorted] = []
    for k in sorted(k_shots):
        view = in_shape(source, replace(shape, k_shot=k))
        drawn = [_sorted_by_class(task) for task in view.tasks(split, range(N_NESTED))]
        for index, (fewer, more) in enumerate(zip(before, drawn, strict=False)):
            for label in sorted(fewer.query.keys() | more.query.keys()):
                if not {*fewer.support[label]} <= {*more.support[label]}:
                    leaks.add(
                        f"{split}/{index}: supports of class {label} at k = {k} lack one of a smaller k"
                    )
                few, many = sorted((fewer.query[label], more.query[label]), key=len)
                if many[: len(few)] != few or (split == "new" and len(many) > len(few)):
                    leaks.add(
                        f"{split}/{index}: queries of class {label} at k = {k} are not those of smaller k"
                    )
        before = drawn
    return leaks


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Hashes of a task's examples, by label."""

    support: dict[int, list[int]]
    query: dict[int, list[int]]


def _sorted_by_class(task: Task) -> _Sorted:
    return _Sorted(_by_class(task.support), _by_class(task.query))


def _by_class(examples: Examples) -> dict[int, list[int]]:
    reals = examples.targets.dtype.is_floating_point
    labels = [0] * len(examples) if reals else _numbers(examples.targets).tolist()
    found: dict[int, list[int]] = defaultdict(list)
    for label, hashed in zip(labels, hashes_of(examples.inputs, None).tolist(), strict=True):
        found[label].append(hashed)
    return found


def _seen(task: Task, task_hash: str) -> str:
    """Over all that a strategy may see of a task, and its query set."""
    parts: list[Part] = [f"{task.name} {task.support.seed} {task_hash}"]
    if task.support.unlabelled is not None:
        parts += tensor_parts(task.support.unlabelled)
    if task.support.source_classes is not None:
        parts.append(task.support.source_classes)
    return digest(parts)


def _numbers(targets: Tensor) -> NDArray[np.int64]:
    return targets.to(torch.int64).numpy()
