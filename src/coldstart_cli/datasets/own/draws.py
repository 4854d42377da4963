"""One task with all classes at once: new tasks are draws of its labels, its test set judges them all.

As the publishers of intent data report it: k labelled examples of every class, and the whole test set. There
is no source, so strategies that learn nothing from one are compared (Digits does the same across domains).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.contents import raw_hash
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Pool, Split, Support, Task, TaskShape, TaskSource
from coldstart_cli.datasets.episodes.classes import ClassTable
from coldstart_cli.datasets.episodes.counter import order, seeds, task_keys, words
from coldstart_cli.datasets.episodes.drawing import SUPPORT_SEED, UNLABELLED, draw
from coldstart_cli.datasets.episodes.functions import map_shapes
from coldstart_cli.datasets.episodes.gathering import gather
from coldstart_cli.datasets.episodes.shapes import no_task, reshaped
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.digests import digest


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What a split draws from, and its fixed queries, examples `judged`; both have every class, in order."""

    table: ClassTable
    queries: Examples
    judged: NDArray[np.integer]


@final
class Draws(TaskSource):
    """Draws of k labels from every class.

    Args:
        name: starts messages.
        labelled: all examples.
        parts: of `validation` and `new`.
        k_shot: labelled examples a class.
        n_unlabelled: unlabelled examples a class.
        bank_seed: determines the draws, not the data.
        published: as of `Own`.
    """

    has_source = False

    def __init__(
        self,
        name: str,
        labelled: Labelled,
        parts: Mapping[Split, Part],
        *,
        k_shot: int,
        n_unlabelled: int,
        bank_seed: int,
        published: Sequence[str] | None = None,
    ) -> None:
        self.published = published
        self.name, self.labelled, self.parts, self.bank_seed = name, labelled, dict(parts), bank_seed
        self.n_way = len(labelled.classes)
        n_query = len(parts["new"].queries) // self.n_way
        self.shape = TaskShape(self.n_way, k_shot, n_query, n_unlabelled)
        self.input_shape = map_shapes(labelled.inputs)
        self.named, self.nameless = labelled.names is not None, labelled.nameless
        drawn = (
            itertools.chain([s], part.table.dense_parts(part.table.ids), [part.queries.targets])
            for s, part in sorted(self.parts.items())
        )
        self.fingerprint = digest(itertools.chain([labelled.fingerprint], *drawn))

    @property
    def objective(self) -> Classification:
        return Classification(self.n_way)

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """Draws number `indices`: support (n_way * k_shot, ...), class by class; the query set is whole.

        Raises:
            ValueError: where the split cannot serve the shape.
        """
        reason = self.refusal(split, self.shape)
        if reason is not None:
            raise ValueError(reason)
        part, keys = self.parts[split], task_keys(self.bank_seed, split, indices)
        classes = np.tile(np.arange(self.n_way), (len(keys), 1))
        drawn = draw(part.table, classes, keys, replace(self.shape, n_query=0), None)
        targets = torch.arange(self.n_way).repeat_interleave(self.shape.k_shot)
        free = drawn.unlabelled.reshape(len(keys), -1)
        free = np.take_along_axis(free, order(words(keys, UNLABELLED, free.shape[1])), axis=1)
        return [
            Task(
                Support(
                    gather(self.labelled.inputs, drawn.support[i].reshape(-1), None),
                    targets,
                    self.objective,
                    seed,
                    gather(self.labelled.inputs, free[i], None) if free.shape[1] else None,
                    names=self.labelled.names,
                ),
                part.queries,
                f"{split}/{index}",
                raw_hash=self._raw_hash(part, drawn.support[i].reshape(-1), targets),
            )
            for i, (index, seed) in enumerate(zip(indices, seeds(keys, SUPPORT_SEED), strict=True))
        ]

    def _raw_hash(self, part: Part, support: NDArray[np.integer], targets: Tensor) -> str | None:
        hashes = self.labelled.contents
        if hashes is None:
            return None
        return raw_hash(hashes[support], hashes[part.judged], targets, part.queries.targets)

    def pool(self, split: Split) -> Pool:
        """What a split draws from.

        Raises:
            ValueError: where there is none.
        """
        if split not in self.parts:
            raise ValueError(self._absent(split))
        return _DrawsPool(self.labelled, self.parts[split])

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        if split not in self.parts:
            return self._absent(split)
        if shape.n_way != self.n_way:
            return f"{self.name}: every task has all {self.n_way} classes, not {shape.n_way}; leave out n_way"
        reason = no_task(self.name, shape)
        if reason is not None:
            return reason
        least = int(self.parts[split].table.sizes.min())
        if shape.k_shot + shape.n_unlabelled <= least:
            return None
        return (
            f"{self.name}: a class of {split} has {least} examples to draw from, not {shape.k_shot} + "
            f"{shape.n_unlabelled}; lower k_shot or n_unlabelled"
        )

    def with_shape(self, shape: TaskShape) -> Draws:
        return reshaped(self, shape)

    def facts(self) -> dict[str, str]:
        def described(part: Part) -> str:
            sizes = part.table.sizes
            drawn = f"{self.n_way} classes x {sizes.min()} to {sizes.max()} examples to draw from"
            return f"{drawn}, {len(part.queries)} fixed queries"

        return {split: described(part) for split, part in self.parts.items()}

    def _absent(self, split: Split) -> str:
        return f"{self.name}: all classes are one new task, without {split}; choose another dataset.setting"


@final
class _DrawsPool(Pool):
    """The examples of a table, class by class."""

    def __init__(self, labelled: Labelled, part: Part) -> None:
        self.objective, self.names = Classification(len(part.table)), part.table.names
        self.queries, self._inputs, self.read_names = part.queries, labelled.inputs, labelled.names
        self._ids, self._labels, _ = part.table.flat()

    def __len__(self) -> int:
        return len(self._ids)

    def examples(self, indices: Tensor) -> Examples:
        chosen = indices.cpu().numpy()
        labels = torch.from_numpy(self._labels[chosen]).long()
        return Examples(gather(self._inputs, self._ids[chosen], None), labels)
