"""The vocabulary of a cold start: tasks, sources and strategies.

A *task* is a support set, a query set and an objective. A *source* is a pure function from
(split, index) to a task. A *strategy* has two methods, `fit` and `adapt`, both generators: the
caller decides when to stop, log, checkpoint and read the clock.
"""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor, nn

Inputs = Tensor | Mapping[str, Tensor]
"""What a network reads: every tensor is (n, ...). Images, features, or token ids with their mask."""

Split = Literal["train", "validation", "source_test", "new"]
"""`train` classes; `validation` source classes of their own; `source_test`, examples of training
classes that training never sees; `new`, the classes of the cold start."""

Validation = Literal["as_new", "unshifted", "none"]

ModelKind = Literal["any", "language", "captions"]
"""What a strategy asks of the model: features, to say words, or to read captions beside images."""

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
    """

    support: Support
    query: Examples
    name: str
    origin: str | None = None

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


@dataclass(frozen=True, slots=True)
class Adapted:
    """A predictor for one task.

    Attributes:
        build: makes `module`; called only if a step's predictor is used, since making a module takes
            as long as a step of a small network.
        changed: the tensors that adaptation made, by name.
        notes: numbers worth reporting (`distance`, `guard`, ...). `similarity of X` is the resemblance of
            the source group X to the task, and X, among `beside`, the predictor that learned from X alone.
        beside: other predictors for the same task that are scored beside this one, by role (`teacher`).
        deviation: makes a module (n, ...) -> (n, n_outputs) of the standard deviations of what `module` says
            of reals, where the strategy knows them.
    """

    build: Callable[[], nn.Module]
    changed: Mapping[str, Tensor]
    notes: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    deviation: Callable[[], nn.Module] | None = None

    @property
    def module(self) -> nn.Module:
        """(n, ...) -> (n, n_outputs), made anew at each access. It can be called, counted, exported."""
        return self.build()


class Strategy(nn.Module, ABC):
    """A way out of a cold start: learn from a source, adapt to a task.

    Hyper-parameters are keyword-only arguments of the constructor, stored under their own name (those that
    strategies share, as one mapping); their values are in conf/strategy. What adaptation needs of the source
    is state (parameters and buffers), so that a trained strategy adapts without the source data.

    Attributes:
        learns_from_source: False where `fit` has nothing to do, as for a baseline from scratch, or where
            no parameter of it learns, as over a frozen encoder (`assembly` says so).
        searches_source: `fit` chooses values on source tasks, with no parameter to train as well; without a
            source it keeps those of its config.
        needs_classes: it cannot serve a regression.
        needs_labels: it cannot serve k = 0; a strategy without this can, where new classes are classes of the
            source.
        reads_names: it learns from what classes are called (`Support.names`), and so serves k = 0 where they
            have names.
        needs_unlabelled: it cannot serve a task without unlabelled examples.
        needs_running_statistics: it cannot serve a model whose norms keep no running statistics.
        needs_model: see `ModelKind`; it cannot serve others.
        needs_package: (package, our extra that installs it) of what `adapt` calls; answering does without.
        preparing_steps: number of first outer steps, such as a teacher's, that cannot give the best state.
        differentiates_twice: its outer gradient goes through inner ones, for which bf16 is too coarse.
        starts_from_support: its predictor before the first gradient step is made of the support set.
        replayable: `adapt` calls the same operations for every task, so that they can be recorded once. False
            where it draws random numbers, decides by values, or notes some.
        lowers_distance_by: the hyper-parameter that weighs the `distance` which its steps note and lower, or
            None.
        shardable: `fit` calls its encoders as they are and gives them no other tensors, so that each process
            may hold a part of their weights (`hardware.shard`).
        adversarial: it notes a `distance`, and its steps lower what a discriminator sees in its place.
    """

    learns_from_source: bool = True
    searches_source: bool = False
    preparing_steps: int = 0
    differentiates_twice: bool = False
    vectorize: bool = False  # all tasks of a batch in one call
    needs_classes: bool = False
    needs_labels: bool = True
    reads_names: bool = False
    needs_unlabelled: bool = False
    needs_running_statistics: bool = False
    needs_model: ModelKind = "any"
    needs_package: tuple[str, str] | None = None
    starts_from_support: bool = False
    replayable: bool = True
    lowers_distance_by: str | None = None
    adversarial: bool = False
    shardable: bool = False

    @property
    def transductive(self) -> bool:
        """Whether a prediction may depend on the other inputs of its batch."""
        # Asked of the modules, because only the model's config decides about its norm.
        return any(getattr(module, "batch_dependent", False) for module in self.modules())

    def refusal(self, tasks: TaskSource) -> str | None:
        """Why this strategy cannot serve tasks such as these, or None when it can."""
        if self.needs_classes and tasks.shape.n_way is None:
            return "it tells classes apart and these tasks are a regression; choose strategy=maml or r2d2"
        reason = self._lack_of_labels(tasks)
        if reason is not None:
            return reason
        if self.needs_package is not None and not installed(self.needs_package[0]):
            package, extra = self.needs_package
            return f"it adapts by {package}, which is not installed; pip install 'coldstart-cli[{extra}]'"
        if self.needs_unlabelled and tasks.shape.n_unlabelled == 0:
            return (
                "it learns from unlabelled examples of the new task and there are none; give some "
                "(dataset.n_unlabelled=10; to adapt, dataset.unlabelled=FILE)"
            )
        keeps = any(getattr(module, "running_statistics", False) for module in self.modules())
        if self.needs_running_statistics and not keeps:
            return "it renews running batch statistics and the model keeps none; choose model.norm=batch"
        return None

    def refusal_of(self, support: Support) -> str | None:
        """Why it cannot serve this task though others of its shape may fit, or None when it can.

        Every task of an evaluation is asked about before training, so the answer has to be quick;
        `refusal` need only ask about a few.
        """
        return None

    def _lack_of_labels(self, tasks: TaskSource) -> str | None:
        """Why it cannot do without labels where these tasks have none."""
        if tasks.shape.k_shot > 0 or (self.reads_names and tasks.named):
            return None
        served = not self.needs_labels and tasks.shares_labels
        if self.reads_names and not served:
            return (
                "k_shot is 0 and the classes have no names that this model reads; give labels "
                "(evaluation.k_shots=[1]), or texts to a model that reads them (model=minilm_frozen)"
            )
        remedy = "give labels (evaluation.k_shots=[1]; to adapt, dataset.root=PATH)"
        if self.needs_labels:
            return f"it learns from labels and k_shot is 0; {remedy}"
        if not served:
            return f"k_shot is 0 and the source has other classes; {remedy}"
        return None

    @abstractmethod
    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        """Yields the metrics of each outer step on the training split, possibly without end.

        `start`: steps taken before (resume). All randomness is a function of (seed, step).
        """

    @abstractmethod
    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields a predictor after 0 gradient steps, then after each step. Changes nothing of self."""

    def short_of(self, n_steps: int) -> str | None:
        """What so few steps on a new task leave undone, in words for a warning, or None."""
        return None

    def last_step(self, support: Support) -> int | None:
        """After how many steps `adapt` ends by itself; None where it goes on, or nobody knows."""
        return None

    def ablations(self, support: Support, other: Support) -> Mapping[str, Iterator[Adapted]]:
        """Adaptations to the same task with a part of the strategy exchanged or left out, by what was done.

        What a strategy claims to make use of must show here (`evaluation.ablate`): `swap` takes what
        `other`, another task's support set, says in place of what this one says; `off` does without.
        """
        return {}


def installed(package: str) -> bool:
    """Whether a package is, by the name that pip knows it by."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
