"""What a way out of a cold start is: it learns from a source, then adapts to a task.

Both methods, `fit` and `adapt`, are generators: the caller decides when to stop, log, checkpoint and read the
clock.
"""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.package import getting

ModelKind = Literal["any", "language", "captions"]
"""What a strategy asks of the model: features, to say words, or to read captions beside images."""


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
            return f"it adapts by {package}, which is not installed; {getting(extra)}"
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
