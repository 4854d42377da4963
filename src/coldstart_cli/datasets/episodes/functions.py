"""Regression tasks over a table of points: each task is one function, known by its points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.objectives import Regression
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
from coldstart_cli.datasets.episodes.classes import ClassTable, queries_left, validation_of
from coldstart_cli.datasets.episodes.counter import seeds, task_keys
from coldstart_cli.datasets.episodes.drawing import SUPPORT_SEED, draw, drawn_classes
from coldstart_cli.datasets.episodes.gathering import gather
from coldstart_cli.datasets.episodes.shapes import no_task, reshaped


@final
class Functions(TaskSource):
    """Tasks drawn from points: queries from the front of a random order of a function, support from its back.

    Args:
        name: starts messages.
        inputs: every point once, (n, ...).
        targets: (n, n_outputs).
        objective: of these targets.
        splits: points of each function, by split; `source_test` has the functions of `train`.
        shape: of its tasks; n_way is None.
        bank_seed: determines the tasks, not the data.
        reserved: points of each function that queries leave to support and unlabelled.
        fingerprint: of the content.
    """

    shares_labels = True

    def __init__(
        self,
        name: str,
        inputs: Inputs,
        targets: Tensor,
        splits: Mapping[Split, ClassTable],
        *,
        objective: Regression,
        shape: TaskShape,
        bank_seed: int,
        reserved: int,
        fingerprint: str,
    ) -> None:
        self.name, self.inputs, self.targets, self.splits = name, inputs, targets, dict(splits)
        self.shape, self.bank_seed, self.reserved, self._objective = shape, bank_seed, reserved, objective
        self.fingerprint, self.has_source = fingerprint, "train" in splits
        self.validation = validation_of(splits, unshifted=False)
        shapes = map_shapes(inputs)
        self.input_shape = shapes

    @property
    def objective(self) -> Regression:
        return self._objective

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """Tasks number `indices`: support (k_shot, ...) -> (k_shot, n_outputs), query (n_query, ...).

        On validation and new a function of few points has fewer queries; on train and source_test all have
        as many as the poorest.

        Raises:
            ValueError: where the split cannot serve the shape.
        """
        reason = self.refusal(split, self.shape)
        if reason is not None:
            raise ValueError(reason)
        if not len(indices):
            return []
        table, keys = self.splits[split], task_keys(self.bank_seed, split, indices)
        shape, reserved = self._served(split), self.reserved if self._uneven(split) else None
        functions = drawn_classes(table, keys, 1, one_origin=False)
        parts = draw(table, functions, keys, shape, reserved)
        asked = np.ones(parts.query.shape, dtype=np.bool_) if parts.asked is None else parts.asked
        return [
            Task(
                self._support(parts.support[i, 0], parts.unlabelled[i, 0], seed),
                self._examples(parts.query[i, 0][asked[i, 0]]),
                f"{split}/{index}",
                table.cluster(functions[i, 0]),
            )
            for i, (index, seed) in enumerate(zip(indices, seeds(keys, SUPPORT_SEED), strict=True))
        ]

    def pool(self, split: Split) -> Pool:
        """All points of a split.

        Raises:
            ValueError: where the split is empty.
        """
        if split not in self.splits:
            raise ValueError(self._absent(split))
        return _FunctionsPool(self.inputs, self.targets, self.objective, self.splits[split])

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        if shape.n_way is not None:
            return f"{self.name}: a regression has no classes; leave out n_way"
        reason = no_task(self.name, shape)
        if reason is not None:
            return reason
        if split not in self.splits:
            return self._absent(split)
        least, wanted = int(self.splits[split].sizes.min()), shape.k_shot + shape.n_unlabelled
        kept = max(self.reserved, least - shape.n_query) if self._uneven(split) else least - 1
        if wanted <= kept:
            return None
        return (
            f"{self.name}: {wanted} points for support and unlabelled are too many on {split}, where a "
            f"task has {least}; lower k_shot, or leave small tasks out (dataset.min_examples={wanted + 1})"
        )

    def with_shape(self, shape: TaskShape) -> Functions:
        return reshaped(self, shape)

    def facts(self) -> dict[str, str]:
        return {
            split: f"{len(table)} tasks x {table.sizes.min()} to {table.sizes.max()} points"
            for split, table in self.splits.items()
        }

    def _uneven(self, split: Split) -> bool:
        return split in ("validation", "new")

    def _served(self, split: Split) -> TaskShape:
        one = replace(self.shape, n_way=1)
        if self._uneven(split):
            return one
        return replace(one, n_query=max(1, min(one.n_query, queries_left(self.splits[split], one))))

    def _absent(self, split: Split) -> str:
        return f"{self.name}: no tasks are held out for {split}; hold some out in the data set's settings"

    def _support(self, ids: NDArray[np.int32], unlabelled: NDArray[np.int32], seed: int) -> Support:
        known = self._examples(ids)
        free = gather(self.inputs, unlabelled, None) if len(unlabelled) else None
        every = torch.arange(self.targets.shape[1])  # its outputs are those of the source
        return Support(known.inputs, known.targets, self.objective, seed, free, source_classes=every)

    def _examples(self, ids: NDArray[np.int32]) -> Examples:
        return Examples(gather(self.inputs, ids, None), self.targets[torch.from_numpy(ids).long()])


@final
class _FunctionsPool(Pool):
    """The points of a table, function by function."""

    def __init__(self, inputs: Inputs, targets: Tensor, objective: Regression, table: ClassTable) -> None:
        self.objective, self.names = objective, table.names
        self._inputs, self._targets = inputs, targets
        self._ids = torch.from_numpy(table.flat()[0]).long()

    def __len__(self) -> int:
        return len(self._ids)

    def examples(self, indices: Tensor) -> Examples:
        chosen = self._ids[indices.cpu()]
        return Examples(map_inputs(lambda t: t[chosen], self._inputs), self._targets[chosen])


def map_shapes(inputs: Inputs) -> tuple[int, ...] | dict[str, tuple[int, ...]]:
    """The shape of one input, without n; of a mapping, of each tensor."""
    if isinstance(inputs, Tensor):
        return tuple(inputs.shape[1:])
    return {name: tuple(tensor.shape[1:]) for name, tensor in inputs.items()}
