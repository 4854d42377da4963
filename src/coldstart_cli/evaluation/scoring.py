"""Adapts to a task and scores its query set after some steps, several tasks at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from queue import SimpleQueue

import torch
from torch import Tensor

from coldstart_cli.core.contents import content_hash
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Support, Task
from coldstart_cli.evaluation.ablations import ablated
from coldstart_cli.evaluation.adaptations import Adaptations, Answer
from coldstart_cli.evaluation.step_choice import own_step
from coldstart_cli.hardware import Hardware
from coldstart_cli.metrics.names import CONSTANT
from coldstart_cli.metrics.records import Believed, Score
from coldstart_cli.training.optimizers import optimizers


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is wanted of each task beside the headline metric.

    Attributes:
        coverage: of prediction sets; scores then have the objective's other metrics and its calibration too.
        chooses: each task also says which of the steps it would choose for itself (`own_step`).
        constant: a regression's trivial answer is scored beside the strategy's (`metrics.names.CONSTANT`).
        others: another task's support set for each, with which the strategy's ablations are scored beside it.
    """

    coverage: float | None = None
    chooses: bool = False
    constant: bool = False
    others: Mapping[str, Support] | None = None


NOTHING_MORE = Asked()


def scored_together(
    strategy: Strategy,
    tasks: Iterable[Task],
    steps: Sequence[int],
    hardware: Hardware,
    *,
    beside: bool,
    asked: Asked = NOTHING_MORE,
) -> Iterator[list[Score]]:
    """`scored` for each task, in order; on a CPU several tasks at a time, each on a core of its own.

    A support set of five images is too small to divide: two threads on one task are a fifth faster than
    one, but four times slower where another process wants the second core. Each worker has its own module
    tree, because a functional call changes the tree while it runs; tensors are shared.
    """
    n = hardware.threads if hardware.device.type == "cpu" else 1
    adaptations = Adaptations(steps, hardware, beside=beside)
    one = partial(scored, adaptations=adaptations, asked=asked)
    if n == 1:
        yield from (one(strategy, task) for task in tasks)
        return
    trees: SimpleQueue[Strategy] = SimpleQueue()
    for _ in range(n):
        trees.put(_tree_of(strategy))

    def work(task: Task) -> list[Score]:
        # As many trees as threads, so this never waits.
        tree = trees.get()
        try:
            return one(tree, task)
        finally:
            trees.put(tree)

    waiting = iter(tasks)
    with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        try:
            # A few at a time: `map` on all tasks would draw them all before the first is scored.
            while batch := list(islice(waiting, 4 * n)):
                yield from workers.map(work, batch)
        finally:
            # The initializer changed the number for the whole process, at least for matrix products.
            torch.set_num_threads(hardware.threads)


def _tree_of(strategy: Strategy) -> Strategy:
    """A copy of the strategy's modules around the same tensors and optimizers."""
    kept: list[object] = [*strategy.parameters(), *strategy.buffers()]
    kept += [optimizer for _, optimizer in optimizers(strategy)]
    # What the memo holds is taken for its own copy: tensors and optimizers are shared.
    return copy.deepcopy(strategy, {id(value): value for value in kept})


def scored(
    strategy: Strategy, task: Task, adaptations: Adaptations, asked: Asked = NOTHING_MORE
) -> list[Score]:
    """Adapts to one task and scores its query set.

    adapt_seconds is the time inside the strategy's generator, or in its replay, while other tasks may share
    the machine (`costs.adaptation_ms` times adaptation alone and without replay). Predictors that a strategy
    gives beside its own are scored too.
    """
    strategy.eval()
    task_hash = content_hash(task)
    task = task.to(adaptations.hardware.device)
    own = None
    if asked.chooses:
        with adaptations.hardware.autocast():
            own = own_step(strategy, task.support, adaptations.steps)
    known: dict[int, _Measured] = {}
    scores: list[Score] = []
    answers = adaptations(strategy, task)
    if asked.others is not None:
        answers += ablated(strategy, task, asked.others[task.name], adaptations.steps, adaptations.hardware)
    if asked.constant and (mean := _constant(task)) is not None:
        answers.append(Answer(min(adaptations.steps), CONSTANT, {}, mean, None, 0.0))
    for answer in answers:
        outputs = id(answer.outputs)
        # Steps that share a predictor have the same tensor of outputs, which is measured once.
        if outputs not in known:
            known[outputs] = _measured(answer.outputs, answer.deviations, task, asked.coverage)
        measured = known[outputs]
        scores.append(
            Score(
                task=task.name,
                task_hash=task_hash,
                raw_hash=task.raw_hash,
                origin=task.origin,
                step=answer.step,
                chosen=answer.step == own,
                beside=answer.role,
                value=measured.value,
                loss=measured.loss,
                metrics=measured.metrics,
                believed=measured.believed,
                notes=dict(answer.notes),
                adapt_seconds=round(answer.seconds, 7),
            )
        )
    return scores


def _constant(task: Task) -> Tensor | None:
    """The mean of the support's labels for every query, (n_query, n_outputs); None where there is none."""
    labels = task.support.targets
    if labels.ndim < 2 or len(labels) == 0:  # classes, or nothing to take the mean of
        return None
    return labels.float().mean(dim=0).expand(len(task.query), -1)


@dataclass(frozen=True, slots=True)
class _Measured:
    value: float
    loss: float
    metrics: Mapping[str, float]
    believed: Believed | None


def _measured(outputs: Tensor, deviations: Tensor | None, task: Task, coverage: float | None) -> _Measured:
    objective, targets = task.support.objective, task.query.targets
    value = float(objective.metrics(outputs, targets)[objective.headline])
    loss = float(objective.loss(outputs, targets))
    if coverage is None:
        return _Measured(value, loss, {}, None)
    outputs, targets = outputs.cpu(), targets.cpu()  # moved once, because all that follows is counted there
    others = objective.other_metrics(outputs, targets)
    if deviations is not None:
        others |= objective.intervals(outputs, deviations.cpu(), targets.cpu(), coverage)
    found = objective.calibration(outputs, targets, coverage)
    believed = found and Believed(found.brier, found.coverage, found.set_size, found.confidence_bins)
    return _Measured(value, loss, {name: round(other, 6) for name, other in others.items()}, believed)
