"""One real task as a source: all examples are its support, and there is nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

from coldstart_cli.core.tasks import Examples, Objective, Pool, Split, Support, Task, TaskShape, TaskSource
from coldstart_cli.datasets.own.labelled import Labelled


@final
class OneTask(TaskSource):
    """A task of your own, its classes with unequal numbers of labels.

    Args:
        labelled: all that is known of the task.
        seed: of its support: the only randomness of adaptation.
    """

    def __init__(self, labelled: Labelled, seed: int) -> None:
        self.labelled, self.seed = labelled, seed
        self.fingerprint = labelled.fingerprint
        inputs = labelled.inputs
        self.input_shape = (
            tuple(inputs.shape[1:])
            if isinstance(inputs, torch.Tensor)
            else {name: tuple(tensor.shape[1:]) for name, tensor in inputs.items()}
        )
        n_way = len(labelled.classes) or None
        counts = labelled.targets.bincount(minlength=n_way) if n_way else torch.tensor([len(labelled)])
        unlabelled = labelled.unlabelled
        n = 0 if unlabelled is None else len(next(iter(_tensors(unlabelled))))
        self.shape = TaskShape(n_way, int(counts.min()), 1, -(-n // (n_way or 1)))

    @property
    def objective(self) -> Objective:
        return self.labelled.objective

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """The one task, as often as it is asked for; its query set is its support set."""
        support, query = self.support(), Examples(self.labelled.inputs, self.labelled.targets)
        return [Task(support, query, f"{split}/{index}") for index in indices]

    def support(self) -> Support:
        own = self.labelled
        return Support(own.inputs, own.targets, own.objective, self.seed, own.unlabelled)

    def pool(self, split: Split) -> Pool:
        raise ValueError("dataset: one task of your own has no source; name a trained run (run=DIR)")

    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        return None if shape == self.shape else "one task of your own has the shape it has"

    def with_shape(self, shape: TaskShape) -> OneTask:
        if shape != self.shape:
            raise ValueError("one task of your own has the shape it has")
        return self

    def facts(self) -> dict[str, str]:
        own = self.labelled
        return {"new": f"{len(own)} examples" + (f" of {len(own.classes)} classes" if own.classes else "")}


def _tensors(inputs: object) -> list[torch.Tensor]:
    return [inputs] if isinstance(inputs, torch.Tensor) else list(inputs.values())  # type: ignore[attr-defined]
