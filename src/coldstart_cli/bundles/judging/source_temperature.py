"""A temperature where a task has too few labels to hold any out: from validation tasks of the run's source.

The strategy adapts to tasks like the new one (as many examples a class, as many classes as there are) whose
queries are known. That temperature is right for the new task as far as the tasks of the source resemble it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import mode
from typing import Any

import torch

from coldstart_cli.bundles.judging import temperature
from coldstart_cli.bundles.judging.batch_statistics import settled
from coldstart_cli.core.stepping import adapted_after
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import TaskSource
from coldstart_cli.datasets.own.one_task import OneTask
from coldstart_cli.errors import RequestError
from coldstart_cli.evaluation.loop import tasks_of
from coldstart_cli.experiment.parts import StrategyBuilder, source_of
from coldstart_cli.files.durable import read_json
from coldstart_cli.hardware import Hardware
from coldstart_cli.runs.run import Run


def source_temperature(
    config: Mapping[str, Any], hardware: Hardware, run: Run, task: OneTask, step: int, n_tasks: int
) -> tuple[float, str]:
    """The temperature of the strategy's logits on validation tasks, and what these were.

    Args:
        config: of the strategy as it adapts to `task`; the run's own says what its source is.
        step: adaptation steps.

    Raises:
        RequestError: where the source is not there, is another one now, or has no such tasks.
    """
    source = source_of({**config, "dataset": run.config["dataset"]})
    known = read_json(run.path / "environment.json", "run")
    if source.fingerprint != known["fingerprint"]:
        raise RequestError("dataset: its data are others now")
    counts = task.labelled.targets.bincount(minlength=len(task.labelled.classes))
    shaped = _like(source, len(counts), int(counts.median()))
    builder = StrategyBuilder(config, hardware, shaped, config["training"]["steps"], known["facts"])
    strategy = builder.build(config["strategy"], "strategy").eval()
    reason = strategy.refusal(shaped)
    if reason is not None:
        raise RequestError(f"strategy: {reason}")
    try:
        strategy.load_state_dict(run.checkpoints.best()["strategy"])
    except RuntimeError as error:
        raise RequestError("dataset: its tasks have another number of classes than the strategy") from error
    logits, targets = _predicted(strategy, shaped, hardware, step, n_tasks)
    t = temperature.temperature(logits, targets, len(targets))
    shape = shaped.shape
    return t, f"{n_tasks} validation tasks of the run ({shape.n_way} classes, k = {shape.k_shot})"


def _like(source: TaskSource, n_way: int, k_shot: int) -> TaskSource:
    """The source in validation tasks of `k_shot` and of ways as near to `n_way` as it can serve.

    Raises:
        RequestError: where it has none.
    """
    most = max(n_way, source.shape.n_way or 0)
    reason = "they are a regression" if source.shape.n_way is None else None
    for way in sorted(range(2, most + 1), key=lambda way: (abs(way - n_way), -way)) if not reason else ():
        shape = replace(source.shape, n_way=way, k_shot=k_shot)
        refused = source.refusal("validation", shape)
        if refused is None:
            try:
                return source.with_shape(shape)
            except ValueError as error:
                refused = str(error)
        reason = refused
    raise RequestError(f"dataset: {reason}")


def _predicted(
    strategy: Strategy, source: TaskSource, hardware: Hardware, step: int, n_tasks: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, n_way) after `step` steps of the queries of all tasks, and their classes (n,).

    Where tasks are unequal, of those that have the number of classes which most of them have.
    """
    outputs, targets = [], []
    for task in tasks_of(source, "validation", n_tasks):
        there = task.to(hardware.device)
        adapted = adapted_after(strategy, there.support, step)
        module = settled(adapted.module, there.support)
        with torch.no_grad():
            outputs.append(module(there.query.inputs).float().cpu())
        targets.append(task.query.targets)
    way = mode(logits.shape[1] for logits in outputs)
    found = [pair for pair in zip(outputs, targets, strict=True) if pair[0].shape[1] == way]
    return torch.cat([logits for logits, _ in found]), torch.cat([classes for _, classes in found])
