"""Adaptation to a part of a task's labels, judged by the rest: how good, and after how many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.bundles.judging.batch_statistics import settled
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Examples, Support
from coldstart_cli.evaluation.step_choice import outputs_after
from coldstart_cli.training.cross_validation import Folds, Indices, to_estimate, to_select
from coldstart_cli.training.inner_loop import canonical_order

MOST_OUTPUTS = 1 << 26
"""Of all repeats together: 256 MiB. Where examples times classes are more, folds are dealt fewer times."""

Told = Callable[[str, int, int], None]
"""Called after each adaptation with what it is for, how many are done, and how many there will be."""


@dataclass(frozen=True, slots=True)
class Together:
    """What of n examples may not be divided between learning and judging.

    Attributes:
        alike: (n,) groups of examples that are equal or nearly so.
        clusters: (n,) groups of examples of one origin (a person, a document), or `alike` itself.
        by_origin: whether they are of origins.
        rows: (n,) the number of each example as it was read.
    """

    alike: Indices
    clusters: Indices
    by_origin: bool
    rows: Indices

    @classmethod
    def of(cls, alike: Indices, origins: Indices | None) -> Together:
        """The smallest groups that divide neither an origin nor what is alike."""
        if origins is None:
            return cls(alike, alike, by_origin=False, rows=np.arange(len(alike)))
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        # Examples are edges between what they are like and where they come from.
        size = int(max(alike.max(), origins.max())) + 1
        edges = coo_array((np.ones(len(alike)), (alike, origins + size)), shape=(2 * size, 2 * size))
        components = connected_components(edges, directed=False)[1]
        clusters = components[alike].astype(np.int64)
        return cls(alike, clusters, by_origin=True, rows=np.arange(len(alike)))

    def take(self, indices: Indices) -> Together:
        parts = (self.alike[indices], self.clusters[indices], self.rows[indices])
        return Together(parts[0], parts[1], self.by_origin, parts[2])


@dataclass(frozen=True, slots=True)
class Answers:
    """What learners that saw a part of the labels say of the rest; m = examples held out, over all repeats.

    Attributes:
        outputs, targets: (m, n_outputs), and as in `Examples`.
        examples: (m,) which example each answer is about.
        folds: (m,) the fold it was held out in, numbered through all repeats.
        centroid: (m,) whether the nearest mean input of a class is the right one; None where inputs are
            tokens, or targets reals.
        n_folds, n_repeats: a learner saw all but one of so many parts, which were dealt so many times.
        together: of the n examples.
        order: (n,) the labelled row that each example is; None where they are in the order of the rows.
    """

    outputs: Tensor
    targets: Tensor
    examples: Indices
    folds: Indices
    centroid: NDArray[np.float64] | None
    n_folds: int
    n_repeats: int
    together: Together
    order: Indices | None = None

    @property
    def n_different(self) -> int:
        """Examples that were held out, those that are alike counted once."""
        return len(np.unique(self.together.alike[self.examples]))


StepChoice = Callable[["Rehearsal"], int]
"""The number of adaptation steps, by a rehearsal on the labels that a learner sees."""


class Rehearsal:
    """Adaptation to a part of the labels, judged by the rest.

    Args:
        support: all labels.
        together: which of them may not be divided.
        told: hears of each adaptation.
        order: (n,) of the labels; None: such that the folds do not depend on the order of the files.
    """

    def __init__(
        self,
        strategy: Strategy,
        support: Support,
        together: Together,
        told: Told,
        order: Tensor | None = None,
    ) -> None:
        self.strategy, self.told = strategy, told
        order = canonical_order(support) if order is None else order
        self.order = order.cpu().numpy()
        ordered = support.take(order)
        self.support = replace(support, inputs=ordered.inputs, targets=ordered.targets)
        self.together = together.take(self.order)
        self.labels = self.support.targets.cpu().numpy()

    @property
    def _whole(self) -> bool:
        """Whether every class has a label: else none can be held out of it."""
        return self.labels.ndim > 1 or len(np.unique(self.labels)) == self.support.objective.n_outputs

    def best(self, steps: Sequence[int], max_folds: int) -> int | None:
        """The number of steps that predicts best; None where there are too few labels to hold any out."""
        objective = self.support.objective
        if not self._whole:
            return None

        done = count(1)
        n_folds = self.n_to_select(max_folds)

        def score(seen: Indices, held_out: Indices) -> Mapping[str, float]:
            rest, outputs = self._answered(seen, held_out, steps)
            self.told("choosing the number of steps", next(done), n_folds)
            return {
                str(step): float(objective.metrics(found, rest.targets)[objective.headline])
                for step, found in outputs.items()
            }

        found = to_select(
            score,
            self.labels,
            max_folds=n_folds,
            seed=self.support.seed,
            higher_is_better=objective.higher_is_better,
            groups=self.together.clusters,
        )
        return None if found is None else int(found)

    def answers(self, step: int | StepChoice, n_folds: int, n_repeats: int) -> Answers | None:
        """What it says after so many steps; None where there are too few labels to hold any out.

        Args:
            step: or what chooses it by the labels that are seen alone (nested cross-validation).
        """
        folds = self._folds_to_estimate(n_folds, n_repeats)
        if not folds:
            return None
        outputs, targets, centroid = list[Tensor](), list[Tensor](), list[Tensor]()
        for number, (seen, held_out) in enumerate(folds, start=1):
            taken = step if isinstance(step, int) else step(self._part(seen))
            rest, found = self._answered(seen, held_out, [taken])
            outputs.append(found[taken].cpu())
            targets.append(rest.targets.cpu())
            hits = nearest_centroid(self.support.take(_on(seen, self.support)), rest)
            centroid += [] if hits is None else [hits]
            self.told("estimating the accuracy", number, len(folds))
        return Answers(
            torch.cat(outputs),
            torch.cat(targets),
            np.concatenate([held_out for _, held_out in folds]),
            np.repeat(np.arange(len(folds)), [len(held_out) for _, held_out in folds]),
            torch.cat(centroid).double().numpy() if centroid else None,
            max(2, len(folds) // self.n_repeats(n_repeats)),
            self.n_repeats(n_repeats),
            self.together,
            self.order,
        )

    def hits(self, seen: Indices, judges: Indices, step: StepChoice) -> NDArray[np.bool_]:
        """(n_judges,) whether a learner that saw a part of the labels answers others rightly."""
        taken = step(self._part(seen))
        rest, found = self._answered(seen, judges, [taken])
        return (found[taken].argmax(-1) == rest.targets).cpu().numpy()

    def n_repeats(self, n_repeats: int) -> int:
        """How often folds are dealt, of the number asked for: memory does not grow with the repeats."""
        outputs = len(self.support) * self.support.objective.n_outputs
        return max(1, min(n_repeats, MOST_OUTPUTS // max(1, outputs)))

    def n_to_select(self, max_folds: int) -> int:
        """Adaptations that `best` takes."""
        return min(max_folds, len(np.unique(self.together.clusters))) if self._whole else 0

    def n_to_estimate(self, n_folds: int, n_repeats: int) -> int:
        """Adaptations that `answers` takes."""
        return len(self._folds_to_estimate(n_folds, n_repeats))

    def _part(self, seen: Indices) -> Rehearsal:
        """Of some of the labels, as they are ordered here."""
        part = self.support.take(_on(seen, self.support))
        learned = replace(self.support, inputs=part.inputs, targets=part.targets)
        kept = torch.arange(len(seen), device=part.targets.device)
        return Rehearsal(self.strategy, learned, self.together.take(seen), lambda *_: None, kept)

    def _folds_to_estimate(self, n_folds: int, n_repeats: int) -> Folds:
        repeats = to_estimate(
            self.labels,
            n_folds=n_folds,
            n_repeats=self.n_repeats(n_repeats),
            seed=self.support.seed,
            groups=self.together.clusters,
        )
        return [fold for repeat in repeats for fold in repeat] if self._whole else []

    def _answered(
        self, seen: Indices, held_out: Indices, steps: Sequence[int]
    ) -> tuple[Examples, dict[int, Tensor]]:
        """What was held out, and outputs (n, n_outputs) for it after each of `steps`."""
        part, rest = (self.support.take(_on(ids, self.support)) for ids in (seen, held_out))
        learned = replace(self.support, inputs=part.inputs, targets=part.targets)
        made = partial(settled, support=learned)
        return rest, dict(outputs_after(self.strategy, learned, rest.inputs, steps, made))


def takes_steps(strategy: Strategy, support: Support) -> bool:
    """Whether its predictor changes by steps; a closed form has one predictor alone."""
    adaptation = strategy.adapt(support)
    n = sum(1 for _ in islice(adaptation, 2))
    adaptation.close()
    return n > 1


def nearest_centroid(seen: Examples, rest: Examples) -> Tensor | None:
    """(n,) whether the class with the nearest mean of the inputs as they are is the right one.

    The plainest thing that can be done with labels; None where inputs have no mean, or targets are reals.
    """
    if not isinstance(seen.inputs, Tensor) or not isinstance(rest.inputs, Tensor) or seen.targets.ndim > 1:
        return None
    x, queries = (inputs.detach().cpu().flatten(1).double() for inputs in (seen.inputs, rest.inputs))
    y = seen.targets.cpu()
    classes, of = torch.unique(y, return_inverse=True)
    sums = torch.zeros(len(classes), x.shape[1], dtype=x.dtype).index_add_(0, of, x)
    nearest = torch.cdist(queries, sums / of.bincount().unsqueeze(1)).argmin(1)
    right: Tensor = classes[nearest] == rest.targets.cpu()
    return right


def _on(indices: Indices, support: Support) -> Tensor:
    return torch.from_numpy(indices).to(support.targets.device)
