"""One real task as a source: all examples are its support, and there is nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import (
    Examples,
    Objective,
    Pool,
    Split,
    Support,
    Task,
    TaskShape,
    TaskSource,
    map_inputs,
    n_examples,
)
from coldstart_cli.datasets.episodes.functions import map_shapes
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.digests import digest


@dataclass(frozen=True, slots=True)
class SourceClasses:
    """The classes of a trained run's source, where new tasks share them (domain shift).

    Attributes:
        names: in the order of the source head's rows; empty where new tasks have classes of their own.
        lack: why they are not known though they may be shared, or None.
    """

    names: tuple[str, ...] = ()
    lack: str | None = None

    def rows(self, classes: Sequence[str]) -> Tensor | None:
        """(n_classes,) the row of the source's head of each class, or None where one has none."""
        row_of = {name: row for row, name in enumerate(self.names)}
        if not classes or not row_of.keys() >= set(classes):
            return None
        return torch.tensor([row_of[name] for name in classes])

    def said(self, classes: Sequence[str]) -> tuple[str, ...]:
        """What a person is to know where the source's head cannot be used for these classes."""
        if self.lack is not None:
            return (self.lack,)
        others = [name for name in classes if name not in self.names]
        if not self.names or not others:
            return ()
        more = ", ..." if len(others) > 3 else ""
        return (
            f"{len(others):,} of {len(classes):,} classes are not classes of the run's source "
            f"({', '.join(others[:3])}{more}): its head is left out, and the task learns one of its own",
        )


@final
class OneTask(TaskSource):
    """A task of your own, its classes with unequal numbers of labels.

    Args:
        labelled: all that is known of the task; no label at all where its classes are the source's.
        seed: of its support: the only randomness of adaptation.
        source_classes: (n_classes,) the source class of each of its classes, or None where they are new.
    """

    def __init__(self, labelled: Labelled, seed: int, source_classes: Tensor | None = None) -> None:
        self.labelled, self.seed, self.source_classes = labelled, seed, source_classes
        self.shares_labels = source_classes is not None
        self.fingerprint = labelled.fingerprint
        self.named, self.nameless = labelled.names is not None, labelled.nameless
        self.input_shape = map_shapes(labelled.inputs)
        n_way = len(labelled.classes) or None
        counts = labelled.targets.bincount(minlength=n_way) if n_way else torch.tensor([len(labelled)])
        n = 0 if labelled.unlabelled is None else n_examples(labelled.unlabelled)
        self.shape = TaskShape(n_way, int(counts.min()), 1, -(-n // (n_way or 1)))

    @property
    def objective(self) -> Objective:
        return self.labelled.objective

    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """The one task, as often as it is asked for; its query set is its support set."""
        support, query = self.support(), Examples(self.labelled.inputs, self.labelled.targets)
        return [Task(support, query, f"{split}/{index}") for index in indices]

    def support(self) -> Support:
        """All of its examples; with the source's classes, so that a strategy may keep the source's head."""
        own = self.labelled
        return Support(
            own.inputs,
            own.targets,
            own.objective,
            self.seed,
            own.unlabelled,
            self.source_classes,
            own.names,
        )

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
        n = 0 if own.unlabelled is None else n_examples(own.unlabelled)
        labelled = f"{len(own)} examples" if len(own) or not n else f"{n} unlabelled examples"
        return {"new": labelled + (f" of {len(own.classes)} classes" if own.classes else "")}


def with_shared_labels(labelled: Labelled) -> Labelled:
    """All tasks as one, whose classes are their labels: `walk` of p1 and `walk` of p2 are one class."""
    if not labelled.tasks or not labelled.classes:
        return labelled
    task_of = dict(zip(labelled.targets.tolist(), labelled.task_of.tolist(), strict=True))
    label_of = [
        name.removeprefix(f"{labelled.tasks[task_of[number]]}/")
        for number, name in enumerate(labelled.classes)
    ]
    labels = sorted(set(label_of))
    number_of = torch.tensor([labels.index(label) for label in label_of])
    # All classes of one label have the same name.
    first = torch.tensor([label_of.index(label) for label in labels])
    return replace(
        labelled,
        targets=number_of[labelled.targets],
        objective=Classification(len(labels)),
        classes=tuple(labels),
        tasks=(),
        task_of=np.zeros_like(labelled.task_of),
        labels=tuple(labels),
        names=None if labelled.names is None else map_inputs(lambda t: t[first], labelled.names),
        fingerprint=digest([labelled.fingerprint, "shared labels"]),
    )
