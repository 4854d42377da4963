"""The gradient of a batch of tasks: one task after another, or all in one call under vmap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from coldstart_cli.core import Examples, Inputs, Task

if TYPE_CHECKING:
    from coldstart_cli.training import TaskLoss


def same(function: Callable[..., Any]) -> Callable[..., Any]:
    """The `training.Each` of one task."""
    return function


def looped_step(
    task_loss: TaskLoss, weights: Mapping[str, Tensor], tasks: list[Task], n: float
) -> dict[str, float]:
    """Adds the gradient of the sum of the tasks' losses over n, one task after another.

    Args:
        n: the number of tasks where these are all of a batch; else what makes the mean over ranks, of which
            each has a part of the batch, the mean over all tasks.

    Returns:
        The sums of the metrics over n.
    """
    totals: dict[str, float] = {}
    for task in tasks:
        metrics = task_loss(same, weights, task.support.objective, task.support, task.query)
        torch.autograd.backward(metrics["loss"] / n)
        for name, value in metrics.items():
            totals[name] = totals.get(name, 0.0) + float(value.detach()) / n
    return totals


def vectorized_step(
    task_loss: TaskLoss, weights: Mapping[str, Tensor], tasks: list[Task], n: float
) -> dict[str, float]:
    """The same in one call under vmap, where all tasks have one shape."""
    if len({_shape(task) for task in tasks}) > 1:
        return looped_step(task_loss, weights, tasks, n)
    stacked = {name: w.expand(len(tasks), *w.shape) for name, w in weights.items()}
    metrics = task_loss(
        partial(torch.func.vmap, randomness="different"),
        stacked,
        tasks[0].support.objective,
        _stacked([task.support for task in tasks]),
        _stacked([task.query for task in tasks]),
    )
    torch.autograd.backward(metrics["loss"].sum() / n)
    return {name: float(values.detach().sum()) / n for name, values in metrics.items()}


def _shape(task: Task) -> tuple[object, ...]:
    """What tasks must have in common to be stacked."""
    shapes: list[object] = [task.support.objective.n_outputs]
    for examples in (task.support, task.query):
        named = {"": examples.inputs} if isinstance(examples.inputs, Tensor) else examples.inputs
        shapes += [(name, tensor.shape, tensor.dtype) for name, tensor in named.items()]
        shapes.append(examples.targets.shape)
    return tuple(shapes)


def _stacked(examples: Sequence[Examples]) -> Examples:
    """Examples of equal shape, (n, ...) each -> (n_tasks, n, ...)."""
    inputs: Inputs
    first = examples[0].inputs
    if isinstance(first, Tensor):
        inputs = torch.stack([cast("Tensor", e.inputs) for e in examples])
    else:
        mappings = [cast("Mapping[str, Tensor]", e.inputs) for e in examples]
        inputs = {name: torch.stack([mapping[name] for mapping in mappings]) for name in first}
    return Examples(inputs, torch.stack([e.targets for e in examples]))
