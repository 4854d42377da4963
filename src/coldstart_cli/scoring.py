"""Adapts to a task and scores its query set: one record for each step, several tasks at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from itertools import islice
from queue import SimpleQueue
from typing import Any

import torch
from torch import nn

from coldstart_cli.core import Adapted, Strategy, Task
from coldstart_cli.hardware import Hardware

Record = dict[str, Any]


def scored_together(
    strategy: Strategy,
    tasks: Iterable[Task],
    steps: Sequence[int],
    hardware: Hardware,
    *,
    beside: bool,
    coverage: float | None = None,
) -> Iterator[list[Record]]:
    """`scored` for each task, in order; on a CPU several tasks at a time, each on a core of its own.

    A support set of five images is too small to share out: two threads on one task are a fifth faster
    than one, and four times slower where another process wants the second core. Each worker has a
    module tree of its own, for a functional call changes the tree while it lasts; tensors are shared.
    """
    n = hardware.threads if hardware.device.type == "cpu" else 1
    one = partial(scored, steps=steps, hardware=hardware, beside=beside, coverage=coverage)
    if n == 1:
        yield from (one(strategy, task) for task in tasks)
        return
    trees: SimpleQueue[Strategy] = SimpleQueue()
    for _ in range(n):
        trees.put(_tree_of(strategy))

    def work(task: Task) -> list[Record]:
        tree = trees.get()
        try:
            return one(tree, task)
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
    strategy: Strategy,
    task: Task,
    steps: Sequence[int],
    hardware: Hardware,
    *,
    beside: bool,
    coverage: float | None = None,
) -> list[Record]:
    """Adapts to one task and scores its query set at `steps`.

    adapt_seconds is the time inside the strategy's generator, in which other tasks may share the machine
    (`inference.adaptation_ms` times adaptation alone). A strategy that takes fewer steps keeps its last
    predictor. With `beside`, what it gives to be scored beside it has rows too, with a role of their own.
    With `coverage`, rows have the columns of `Objective.calibration` as well.
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
            scores = scores or _scores(latest, task, hardware, beside, coverage)
            labels = {"task": task.name, "task_hash": task_hash, "step": step}
            clock = {"adapt_seconds": round(seconds, 7)}
            rows += [{**labels, **row, **clock} for row in scores]
    adaptation.close()
    return rows


def _scores(
    adapted: Adapted, task: Task, hardware: Hardware, beside: bool, coverage: float | None
) -> list[Record]:
    """The rows of a predictor and, with `beside`, of those that are scored beside it."""
    own = _score(adapted.build, task, hardware, coverage)
    if adapted.notes:
        own["notes"] = dict(adapted.notes)
    others = adapted.beside if beside else {}
    return [own, *({"role": r, **_score(build, task, hardware, coverage)} for r, build in others.items())]


def _score(build: Callable[[], nn.Module], task: Task, hardware: Hardware, coverage: float | None) -> Record:
    objective = task.support.objective
    with hardware.autocast():
        module = build()
        with torch.no_grad():
            outputs = module(task.query.inputs).float()
    targets = task.query.targets
    value = float(objective.metrics(outputs, targets)[objective.headline])
    row: Record = {"value": value, "loss": float(objective.loss(outputs, targets))}
    return row if coverage is None else row | objective.calibration(outputs, targets, coverage)


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
