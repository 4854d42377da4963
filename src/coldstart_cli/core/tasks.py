"""The vocabulary of a cold start: tasks and their sources.

A *task* is a support set, a query set and an objective. A *source* is a pure function from
(split, index) to a task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor

Inputs = Tensor | Mapping[str, Tensor]
"""What a network reads: every tensor is (n, ...). Images, features, or token ids with their mask."""

Split = Literal["train", "validation", "source_test", "new"]
"""`train` classes; `validation` source classes of their own; `source_test`, examples of training
classes that training never sees; `new`, the classes of the cold start."""

Validation = Literal["as_new", "unshifted", "none"]


Unit = Literal["%", ""]
"""Of a metric: shares in [0, 1] are shown in percent, others as they are."""


def map_inputs(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Applies `function` to the tensor, or to each tensor of the mapping."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    return {name: function(tensor) for name, tensor in inputs.items()}


def n_examples(inputs: Inputs) -> int:
    """The shared first size n of all tensors."""
    return len(inputs if isinstance(inputs, Tensor) else next(iter(inputs.values())))


def joined(first: Inputs, second: Inputs) -> Inputs:
    """Both, one after the other: (n, ...), (m, ...) -> (n + m, ...)."""
    if isinstance(first, Tensor):
        return torch.cat([first, second])  # type: ignore[list-item]
    # By name: the two mappings may have their keys in different orders.
    return {name: torch.cat([tensor, second[name]]) for name, tensor in first.items()}  # type: ignore[index]


@final
@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the probabilities of one task's answers can be believed, as Python numbers.

    Attributes:
        brier: mean over examples of sum_c (p_c - [c = target])^2, in [0, 2].
        coverage: share of examples whose class lies in the smallest set of classes, most probable first,
            whose probabilities add up to the required coverage.
        set_size: mean number of classes in that set.
        confidence_bins: [m, n, confidences, right] of each of the 15 bins ((m - 1)/15, m/15], m from 1, that
            has examples: their number, the sum of their largest probabilities, the number of right answers;
            None where a probability is not finite, and the others are then nan.
    """

    brier: float
    coverage: float
    set_size: float
    confidence_bins: list[list[float]] | None


class Objective(ABC):
    """What an output means: the one place that tells classes from reals.

    Attributes:
        n_outputs: width of a predictor's output, (n, n_outputs).
        headline: name of the metric that reports lead with.
        higher_is_better: direction of the headline.
        units: metric -> its unit; a metric that is not listed has none.
    """

    n_outputs: int
    headline: str
    higher_is_better: bool
    units: ClassVar[Mapping[str, Unit]] = {}

    @property
    def unit(self) -> Unit:
        """Of the headline."""
        return self.units.get(self.headline, "")

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss, a scalar. outputs (n, n_outputs); targets as in `Examples`."""

    @abstractmethod
    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Mean distance of a student's outputs from a teacher's, both (n, n_outputs): a scalar."""

    @abstractmethod
    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Scalars by name that training logs at each step; the headline is among them."""

    def other_metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Numbers by name that an evaluation reports beside the headline."""
        return {}

    def intervals(
        self, outputs: Tensor, deviations: Tensor, targets: Tensor, coverage: float
    ) -> dict[str, float]:
        """Numbers by name that an evaluation reports where a predictor of reals knows its deviations too.

        `coverage` is the probability that an interval must reach; the shapes are those of `loss`.
        """
        return {}

    def calibration(self, outputs: Tensor, targets: Tensor, coverage: float) -> Calibration | None:
        """How far predicted probabilities can be believed; None where outputs are not probabilities.

        `coverage` is the probability that a prediction set must reach.
        """
        return None


@dataclass(frozen=True, slots=True)
class Examples:
    """Labelled examples. targets: (n,) class ids in [0, n_way), or (n, n_outputs) reals."""

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Applies `function` to every tensor, always in the same order."""
        return replace(self, inputs=map_inputs(function, self.inputs), targets=function(self.targets))

    def to(self, device: torch.device) -> Self:
        # Work on the device waits for the copy by itself, so the CPU need not.
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def take(self, indices: Tensor) -> Examples:
        return Examples(map_inputs(lambda t: t[indices], self.inputs), self.targets[indices])


@dataclass(frozen=True, slots=True)
class Support(Examples):
    """All that a learner may see of a task.

    Attributes:
        objective: what the targets mean.
        seed: the only source of randomness in `Strategy.adapt`.
        unlabelled: inputs of the task without labels, or None.
        source_classes: (n_way,) the source class of each of the task's classes where they share
            labels, as in domain shift, or None.
        names: (n_way, ...) what the task's classes are called, as the model reads it; None where they have no
            names or the model reads no text.
    """

    objective: Objective
    seed: int
    unlabelled: Inputs | None = None
    source_classes: Tensor | None = None
    names: Inputs | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return replace(
            self,
            inputs=map_inputs(function, self.inputs),
            targets=function(self.targets),
            unlabelled=None if self.unlabelled is None else map_inputs(function, self.unlabelled),
            source_classes=None if self.source_classes is None else function(self.source_classes),
            names=None if self.names is None else map_inputs(function, self.names),
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A support set to learn from and a query set to be judged by.

    Attributes:
        origin: the person, site or speaker that all its examples come from, or None where they come from
            several. Tasks of one origin resemble each other, so intervals and tests take them as a cluster.
        raw_hash: `core.contents.raw_hash` of its examples as the files hold them, by which models that read
            something else of them (tokens, features) are compared on the same tasks; None where inputs are
            what the files hold, and on `train`.
    """

    support: Support
    query: Examples
    name: str
    origin: str | None = None
    raw_hash: str | None = None

    def to(self, device: torch.device) -> Task:
        return replace(self, support=self.support.to(device), query=self.query.to(device))


@dataclass(frozen=True, slots=True)
class TaskShape:
    """How many examples a task has. n_way is None where there are no classes (regression)."""

    n_way: int | None
    k_shot: int
    n_query: int
    n_unlabelled: int


class Pool(ABC):
    """All labelled source examples of a split together, with an objective of their own.

    Attributes:
        groups: source group (alphabet, script, domain) of each of the objective's classes, or empty.
        names: of the classes (regression: of the functions), the same in every split, or empty.
        read_names: (n_classes, ...) what the classes are called, as in `Support.names`, or None.
        queries: what judges all tasks of the split and is not in the pool, or None.
    """

    objective: Objective
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    read_names: Inputs | None = None
    queries: Examples | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def examples(self, indices: Tensor) -> Examples:
        """The examples at `indices` (n,), each in [0, len(self)). Pure."""


class TaskSource(ABC):
    """A pure function from (split, index) to a task.

    Attributes:
        input_shape: shape of one input, without n; for mappings, of each tensor.
        shape: the shape of its tasks.
        fingerprint: a digest of the content, which ties a run to the data it was trained on.
        shares_labels: new classes are those of the source (domain shift), as `Support.source_classes` says.
        unequal: a task has `shape.n_way` classes and `shape.k_shot` support examples of each at most.
        validation: how its validation tasks differ from training. `as_new`: as new tasks do, so that they
            may choose for these. `unshifted`: they are rows of the source's own domain, where adapting never
            pays, and cannot say after how many steps a new task is served best. `none`: there are none.
        named: its classes have names that the model reads, so that `Support.names` is there.
        nameless: labels that are read as names and say nothing in words, such as 7 or label_3.
        has_source: it has a split `train`; without one, it serves only strategies that learn nothing from a
            source.
    """

    shares_labels: bool = False
    unequal: bool = False
    validation: Validation = "as_new"
    has_source: bool = True
    named: bool = False
    nameless: tuple[str, ...] = ()
    input_shape: tuple[int, ...] | Mapping[str, tuple[int, ...]]
    shape: TaskShape
    fingerprint: str

    @property
    @abstractmethod
    def objective(self) -> Objective:
        """The objective of one of its tasks."""

    @abstractmethod
    def tasks(self, split: Split, indices: Sequence[int]) -> list[Task]:
        """The tasks of a split at `indices`. PURE: same arguments, same tasks. Images stay uint8.

        Supports are nested over k_shot, and queries do not depend on it (on `train` they may). Only tasks
        that a strategy adapts to need unlabelled examples, so those of `train` may have fewer.
        """

    @abstractmethod
    def pool(self, split: Split) -> Pool:
        """All examples of a split."""

    @abstractmethod
    def refusal(self, split: Split, shape: TaskShape) -> str | None:
        """Why tasks of this shape cannot be drawn from the split, or None when they can."""

    @abstractmethod
    def with_shape(self, shape: TaskShape) -> TaskSource:
        """The same data in tasks of another shape; nothing is loaded again.

        Raises:
            ValueError: where no split can serve the shape.
        """

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """What a report says of the data: classes and examples of each split."""
