"""The clocked evaluation loop: adapt to tasks at every k, keep one record a task, shot and step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from queue import SimpleQueue
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Len, Lt
from torch import nn

from coldstart_cli import metrics
from coldstart_cli.core import (
    Adapted,
    Split,
    Strategy,
    Task,
    TaskShape,
    TaskSource,
)
from coldstart_cli.hardware import Hardware
from coldstart_cli.loggers import Logger
from coldstart_cli.signals import StopOnSignal

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPlan:
    """What is asked of a trained strategy, and of the baseline beside it.

    Attributes:
        n_tasks: new tasks, and as many held-out source tasks.
        n_way, n_query, n_unlabelled: their shape, or None for the data set's.
        k_shots: labels for each class (regression: for each task); one evaluation for each. At 0 there
            is no baseline: it would have nothing to learn from.
        steps: adaptation steps at which the strategy is scored; the one reported is the best on
            validation tasks.
        baseline_steps: the same for the baseline.
        baseline_search: values of the baseline's hyper-parameters to choose from on validation tasks.
        n_selection_tasks: validation tasks that choose.
        confidence: of the intervals.
        batch_sizes: batches whose inference time is measured.
        timed_calls: calls of each, after a warm-up.
    """

    n_tasks: Annotated[int, Ge(2)]
    n_way: Annotated[int, Ge(2)] | None
    n_query: Annotated[int, Ge(1)] | None
    n_unlabelled: Annotated[int, Ge(0)] | None
    k_shots: Annotated[list[Annotated[int, Ge(0)]], Len(1)]
    steps: Annotated[list[Annotated[int, Ge(0)]], Len(1)]
    baseline_steps: Annotated[list[Annotated[int, Ge(0)]], Len(1)]
    baseline_search: dict[str, Annotated[list[float], Len(1)]]
    n_selection_tasks: Annotated[int, Ge(2)]
    confidence: Annotated[float, Gt(0), Lt(1)]
    batch_sizes: Annotated[list[Annotated[int, Ge(1)]], Len(1)]
    timed_calls: Annotated[int, Ge(10)]


def evaluate(
    contestants: Mapping[str, Mapping[str, Strategy]],
    source: TaskSource,
    plan: EvaluationPlan,
    hardware: Hardware,
    loggers: Sequence[Logger],
    stop: StopOnSignal,
    *,
    trained_on_source: bool,
) -> tuple[list[Record], dict[str, dict[int, tuple[str, int]]]]:
    """Adapts every contestant to the same tasks, for every k.

    Args:
        contestants: role (`strategy`, `baseline`) -> variant -> strategy; validation tasks choose the
            variant and the adaptation step of each role.
        trained_on_source: whether the strategy was trained on this source; only then are there held-out
            examples of its training classes.

    Returns:
        The records, and what was chosen: role -> k_shot -> (variant, step).
    """
    chosen: dict[str, dict[int, tuple[str, int]]] = {role: {} for role in contestants}
    records: list[Record] = []
    jobs = list(_jobs(contestants, source, plan, trained_on_source))
    total = sum(
        job.n_tasks * (len(contestants[job.role]) if job.split == "validation" else 1) for job in jobs
    )
    for logger in loggers:
        logger.start("evaluating", total, 0)
    done = 0
    for job in jobs:
        variants = contestants[job.role]
        if job.split != "validation":  # the choice has been made by the jobs before
            ours = [r for r in records if (r["role"], r["k_shot"]) == (job.role, job.k_shot)]
            chosen[job.role][job.k_shot] = metrics.choose(ours, source.objective.higher_is_better)
            variants = {name: s for name, s in variants.items() if name == chosen[job.role][job.k_shot][0]}
        for variant, strategy in variants.items():
            labels = {"role": job.role, "variant": variant, "split": job.split, "k_shot": job.k_shot}
            tasks = tasks_of(job.source, job.split, job.n_tasks)
            beside = job.split == "new"
            for rows in scored_together(strategy, tasks, job.steps, hardware, beside=beside):
                stop.check()
                records.extend({**labels, **row} for row in rows)
                done += 1
                for logger in loggers:
                    logger.advance(done)
    return records, chosen


@dataclass(frozen=True, slots=True)
class _Job:
    role: str
    split: Split
    k_shot: int
    source: TaskSource
    n_tasks: int
    steps: Sequence[int]


def _jobs(
    contestants: Mapping[str, object], source: TaskSource, plan: EvaluationPlan, trained_on_source: bool
) -> Iterator[_Job]:
    for k in plan.k_shots:
        shaped = source.with_shape(shape_of(source, plan, k))
        for role in contestants:
            if role == "baseline" and k == 0:
                continue
            steps = plan.steps if role == "strategy" else plan.baseline_steps
            yield _Job(role, "validation", k, shaped, plan.n_selection_tasks, steps)
            held_out = trained_on_source and shaped.refusal("source_test", shaped.shape) is None
            if role == "strategy" and held_out:
                yield _Job(role, "source_test", k, shaped, plan.n_tasks, steps)
            yield _Job(role, "new", k, shaped, plan.n_tasks, steps)


def shape_of(source: TaskSource, plan: EvaluationPlan, k_shot: int) -> TaskShape:
    """The shape of the evaluation's tasks: the plan's where it says, the data set's where it does not."""
    given = {"n_way": plan.n_way, "n_query": plan.n_query, "n_unlabelled": plan.n_unlabelled}
    return replace(
        source.shape, k_shot=k_shot, **{name: value for name, value in given.items() if value is not None}
    )


def tasks_of(source: TaskSource, split: Split, n: int) -> Iterator[Task]:
    """Tasks 0 to n - 1 of a split, drawn in batches."""
    for start in range(0, n, 32):
        yield from source.tasks(split, range(start, min(start + 32, n)))


def scored_together(
    strategy: Strategy, tasks: Iterable[Task], steps: Sequence[int], hardware: Hardware, *, beside: bool
) -> Iterator[list[Record]]:
    """`scored` for each task, in order; on a CPU several tasks at a time, each on a core of its own.

    A support set of five images is too small to share out: two threads on one task are a fifth faster
    than one, and four times slower where another process wants the second core. Each worker has a
    module tree of its own, for a functional call changes the tree while it lasts; tensors are shared.
    """
    n = hardware.threads if hardware.device.type == "cpu" else 1
    if n == 1:
        yield from (scored(strategy, task, steps, hardware, beside=beside) for task in tasks)
        return
    trees: SimpleQueue[Strategy] = SimpleQueue()
    for _ in range(n):
        trees.put(_tree_of(strategy))

    def work(task: Task) -> list[Record]:
        tree = trees.get()
        try:
            return scored(tree, task, steps, hardware, beside=beside)
        finally:
            trees.put(tree)

    waiting = iter(tasks)
    with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as workers:
        try:
            while batch := list(islice(waiting, 4 * n)):
                yield from workers.map(work, batch)
        finally:
            torch.set_num_threads(hardware.threads)


def _tree_of(strategy: Strategy) -> Strategy:
    """A copy of the strategy's modules around the same tensors and optimizers."""
    kept: list[object] = [*strategy.parameters(), *strategy.buffers()]
    kept += [optimizer for _, optimizer in optimizers(strategy)]
    return copy.deepcopy(strategy, {id(value): value for value in kept})


def optimizers(strategy: Strategy) -> list[tuple[str, torch.optim.Optimizer]]:
    """The optimizers that a strategy, and every module in it, keeps as attributes, by their names."""
    return [
        (f"{prefix}.{name}" if prefix else name, value)
        for prefix, module in strategy.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.optim.Optimizer)
    ]


def scored(
    strategy: Strategy, task: Task, steps: Sequence[int], hardware: Hardware, *, beside: bool
) -> list[Record]:
    """Adapts to one task and scores its query set at `steps`.

    adapt_seconds is the time inside the strategy's generator, in which other tasks may share the machine
    (`inference.adaptation_ms` times adaptation alone). A strategy that takes fewer steps keeps its last
    predictor. With `beside`, what it gives to be scored beside it has rows too, with a role of their own.
    """
    strategy.eval()
    task_hash = content_hash(task)
    task = task.to(hardware.device)
    adaptation = strategy.adapt(task.support)
    rows: list[Record] = []
    seconds, latest = 0.0, None
    scores: list[Record] = []
    for step in range(max(steps) + 1):
        before = hardware.now()
        with hardware.autocast():
            item = next(adaptation, None)
        if item is not None:
            seconds += hardware.now() - before
            latest, scores = item, []
        if step in steps and latest is not None:
            scores = scores or _scores(latest, task, hardware, beside)
            labels = {"task": task.name, "task_hash": task_hash, "step": step}
            clock = {"adapt_seconds": round(seconds, 7)}
            rows += [{**labels, **row, **clock} for row in scores]
    adaptation.close()
    return rows


def _scores(adapted: Adapted, task: Task, hardware: Hardware, beside: bool) -> list[Record]:
    """The rows of a predictor and, with `beside`, of those that are scored beside it."""
    own = _score(adapted.build, task, hardware)
    if adapted.notes:
        own["notes"] = dict(adapted.notes)
    others = adapted.beside if beside else {}
    return [own, *({"role": role, **_score(build, task, hardware)} for role, build in others.items())]


def _score(build: Callable[[], nn.Module], task: Task, hardware: Hardware) -> Record:
    objective = task.support.objective
    with hardware.autocast():
        module = build()
        with torch.no_grad():
            outputs = module(task.query.inputs).float()
    value = objective.metrics(outputs, task.query.targets)[objective.headline]
    return {"value": float(value), "loss": float(objective.loss(outputs, task.query.targets))}


def content_hash(task: Task) -> str:
    """Eight hexadecimal digits over the support and query sets: equal hashes are the same task."""
    content = sha256()
    for examples in (task.support, task.query):
        inputs = {"": examples.inputs} if isinstance(examples.inputs, torch.Tensor) else examples.inputs
        for name, tensor in sorted(inputs.items()):
            content.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            content.update(tensor.contiguous().numpy().tobytes())
        content.update(examples.targets.contiguous().numpy().tobytes())
    return content.hexdigest()[:8]
