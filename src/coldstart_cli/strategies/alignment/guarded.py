"""A guard against negative transfer: it falls back on a learner without the source where the source harms.

Negative transfer, a target learned worse with the source than without, is defined as in Wang, Dai, Poczos
and Carbonell 2019, arXiv:1811.09751, definition 1: by comparison with the same learner from the target's
examples alone. That comparison is made here by cross-validation on the support set (Stone 1974), and
where it is too small for that, on source-validation tasks. The decision rule is our own.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Annotated, Any, cast

import torch
from annotated_types import Ge, Len
from torch import Tensor

from coldstart_cli.core.stepping import adapted_after
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Support, TaskSource
from coldstart_cli.training.cross_validation import folds
from coldstart_cli.training.inner_loop import canonical
from coldstart_cli.training.randomness import step_seed


class Guarded(Strategy):
    """Adapts by `transfer`, unless that is expected to be worse than `fallback`.

    The decision is made between the first item and the second. With two or more labels of every class
    (regression: two points), transfer and fallback are both adapted to all folds but one and scored on
    that one; otherwise the mean difference on source-validation tasks of one label a class decides, measured
    in training. Where neither is known, transfer is trusted. The fallback's values are searched on the same
    validation tasks, as a baseline's are.

    Args:
        n_steps, seed: from the run.
        transfer: the strategy that is guarded; only this one is trained.
        fallback: the strategy without the source.
        steps: adaptation steps after which the two are compared.
        fallback_steps: those of the fallback, which starts farther away; None for `steps`. Item n of a task
            that fell back is the fallback after n * fallback_steps / steps of its own, rounded down.
        fallback_search: values of the fallback's hyper-parameters to choose from on source-validation
            tasks; empty for the fallback as it is.
        n_folds: of the cross-validation, at most; never more than the rarest class has labels.
        check_every: outer steps between two comparisons on source-validation tasks.
        n_tasks: source-validation tasks of a comparison.

    Raises:
        ValueError: where the fallback learns from the source, or has no hyper-parameter that is searched.
    """

    replayable = False
    validation_gain: Tensor
    chosen: Tensor

    def __init__(
        self,
        n_steps: int,
        seed: int,
        *,
        transfer: Strategy,
        fallback: Strategy,
        steps: Annotated[int, Ge(1)],
        fallback_steps: Annotated[int, Ge(1)] | None,
        fallback_search: dict[str, Annotated[list[float], Len(1)]],
        n_folds: Annotated[int, Ge(2)],
        check_every: Annotated[int, Ge(1)],
        n_tasks: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        if fallback.learns_from_source:
            raise ValueError(
                "fallback: it learns from the source, but is meant to do without; "
                "choose strategy@strategy.fallback=scratch"
            )
        self.n_steps, self.seed = n_steps, seed
        self.transfer = transfer
        # Both were built on one encoder, which transfer will train: the fallback's weights are its own.
        # It never takes an outer step, so what a copied optimizer lacks is not missed.
        self.fallback = copy.deepcopy(fallback)
        self.steps, self.n_folds, self.check_every, self.n_tasks = steps, n_folds, check_every, n_tasks
        self.learns_from_source, self.needs_classes = transfer.learns_from_source, transfer.needs_classes
        self.needs_labels, self.needs_unlabelled = transfer.needs_labels, transfer.needs_unlabelled
        self.starts_from_support, self.adversarial = transfer.starts_from_support, transfer.adversarial
        if transfer.lowers_distance_by is not None:
            self.lowers_distance_by = f"transfer.{transfer.lowers_distance_by}"
        # A buffer, so that a run directory adapts without the source; infinity stands for not measured.
        self.register_buffer("validation_gain", torch.tensor(math.inf))
        self.fallback_steps = fallback_steps or steps
        points = itertools.product(*fallback_search.values())
        self.settings = [dict(zip(fallback_search, point, strict=True)) for point in points]
        known = getattr(fallback, "tuning", {})
        if unknown := [name for name in fallback_search if name not in known]:
            raise ValueError(
                f"fallback_search: the fallback has no {unknown[0]}; search {', '.join(known) or 'nothing'}, "
                f"without it by ~strategy.fallback_search.{unknown[0]}"
            )
        if len(self.settings) > 1:  # else there is nothing to choose
            self.register_buffer("chosen", torch.tensor(0))
        self._of_fallback: list[list[float]] | None = None  # of each setting: what validation tasks score

    @property
    def transductive(self) -> bool:
        return self.transfer.transductive or self.fallback.transductive

    def refusal(self, tasks: TaskSource) -> str | None:
        return self.transfer.refusal(tasks) or self.fallback.refusal(tasks)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        """The steps of transfer; `validation_gain` is measured at every `check_every` and at the last."""
        for step, metrics in enumerate(self.transfer.fit(source, start), start + 1):
            # At the last step too, so that a short run is compared at least once.
            if step % self.check_every == 0 or step == self.n_steps:
                self.validation_gain.fill_(self._gain_on_validation(source))
            yield metrics

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Transfer's first item, then those of the strategy that was chosen; `guard` is 1 where it fell back.

        Where transfer yields once, its predictor is yielded again with the decision.
        """
        items = self.transfer.adapt(support)
        first = next(items)
        yield first
        gain = self.expected_gain(support)
        fell_back = gain < 0
        decision = {"guard": float(fell_back)}
        if math.isfinite(gain):
            decision["guard gain"] = gain
        if fell_back:
            items.close()
            items = self._fallback_after(support)
            first = next(items)
        # A method without steps has only one item, which is then shown again with the decision.
        second = next(items, first)
        for adapted in chain([second], items):
            yield replace(adapted, notes={**adapted.notes, **decision})

    def expected_gain(self, support: Support) -> float:
        """How much better transfer is expected to be than fallback, in units of the headline.

        Infinite where nothing is known: there is then no evidence against transfer.
        """
        folds = _folds(support, self.n_folds)
        if not folds:
            return float(self.validation_gain)
        # Weighted by size, so that every held-out label counts the same.
        gains = [
            (self._transferred(seen, held_out) - self._alone(seen, held_out, self._setting())) * len(held_out)
            for seen, held_out in folds
        ]
        return sum(gains) / sum(len(held_out) for _, held_out in folds)

    def _gain_on_validation(self, source: TaskSource) -> float:
        """At one label a class, where no task can judge by itself; chooses the fallback's values as well."""
        training, device = self.training, self.validation_gain.device
        self.eval()
        at_one = source.with_shape(replace(source.shape, k_shot=1))
        tasks = [task.to(device) for task in at_one.tasks("validation", range(self.n_tasks))]
        if self._of_fallback is None:  # training does not change it
            self._of_fallback = [
                [self._alone(task.support, task.query, setting) for task in tasks]
                for setting in range(len(self.settings))
            ]
            if len(self.settings) > 1:
                means = [sum(scores) for scores in self._of_fallback]
                self.chosen.fill_(max(range(len(means)), key=means.__getitem__))
        alone = self._of_fallback[self._setting()]
        transferred = [self._transferred(task.support, task.query) for task in tasks]
        self.train(training)
        return (sum(transferred) - sum(alone)) / len(tasks)

    def _setting(self) -> int:
        return int(self.chosen) if len(self.settings) > 1 else 0

    def _searched(self, setting: int) -> Strategy:
        """The fallback with the values of a setting; it shares the weights."""
        fallback = copy.copy(self.fallback)
        if self.settings[setting]:
            tuned = cast("Any", fallback)
            tuned.tuning = {**tuned.tuning, **self.settings[setting]}
        return fallback

    def _fallback_after(self, support: Support) -> Generator[Adapted, None, None]:
        """The fallback before any step, then after as many of its own as belong to each further item."""
        steps = self._searched(self._setting()).adapt(support)
        latest, taken = next(steps), 0
        yield latest
        for item in itertools.count(1):
            due = item * self.fallback_steps // self.steps
            ahead = list(islice(steps, due - taken))
            if due > taken and not ahead:
                return
            latest, taken = (ahead or [latest])[-1], due
            yield latest

    def _transferred(self, support: Support, held_out: Examples) -> float:
        return _score(self.transfer, self.steps, support, held_out)

    def _alone(self, support: Support, held_out: Examples, setting: int) -> float:
        return _score(self._searched(setting), self.fallback_steps, support, held_out)


def _score(strategy: Strategy, steps: int, support: Support, held_out: Examples) -> float:
    """The headline on one set, so turned that more is better."""
    # The last item that there is: some methods take fewer steps.
    adapted = adapted_after(strategy, support, steps)
    module, objective = adapted.module, support.objective
    with torch.no_grad():
        outputs = module(held_out.inputs)
    value = float(objective.metrics(outputs, held_out.targets)[objective.headline])
    return value if objective.higher_is_better else -value


def _folds(support: Support, n_folds: int) -> list[tuple[Support, Examples]]:
    """(all but one fold, that fold) for each fold, stratified by class; none where a class has one label.

    The same for every order of the support set: drawn from its canonical order by its seed.
    """
    if len(support) == 0:
        return []
    ordered = canonical(support)
    targets = ordered.targets.cpu()
    if targets.ndim == 1 and int(targets.bincount(minlength=support.objective.n_outputs).min()) < 2:
        return []  # a class that cannot be judged says nothing of the harm done to it
    parts = []
    for indices in folds(targets.numpy(), n_folds, step_seed(support.seed, 0)):
        seen, held_out = (ordered.take(torch.from_numpy(i).to(support.targets.device)) for i in indices)
        parts.append((replace(support, inputs=seen.inputs, targets=seen.targets), held_out))
    return parts
