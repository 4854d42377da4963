"""The gradient of a batch of tasks: one task after another, or all in one call under vmap."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from coldstart_cli.core import Examples, Inputs, Task
from coldstart_cli.recorder import UnrecordableError, Values
from coldstart_cli.recording import Recording

if TYPE_CHECKING:
    from coldstart_cli.training import TaskLoss

N_SHAPES = 16
"""Shapes of tasks of which recordings are kept; tasks of further shapes are computed as they are written."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What tasks add to a step: sums of their metrics, and the gradient of their share by each parameter."""

    metrics: dict[str, Tensor]
    gradients: Values


def same(function: Callable[..., Any]) -> Callable[..., Any]:
    """The `training.Each` of one task."""
    return function


class TaskGradients:
    """Gradients of tasks of one shape at a time: computed, recorded meanwhile, and replayed from then on.

    The second tasks of a shape are computed both ways. Where the two differ, or where a task loss cannot be
    recorded, tasks are computed as they are written, every time.

    Args:
        task_loss, weights: as in `training.episodic`.
        parameters: by which gradients are asked for.
        n: the number of tasks where these are all of a batch; else what makes the mean over ranks, of which
            each has a part of the batch, the mean over all tasks.

    Attributes:
        recordable: nothing speaks against it so far.
    """

    def __init__(
        self, task_loss: TaskLoss, weights: Mapping[str, Tensor], parameters: Sequence[Tensor], n: float
    ) -> None:
        self.task_loss, self.weights, self.parameters, self.n = task_loss, weights, list(parameters), n
        self.recordable = True
        self._names: list[str] = []
        self._recordings: dict[object, Recording] = {}
        self._trusted: set[object] = set()

    def __call__(self, tasks: Sequence[Task]) -> Found:
        """Of one task, or of several of one shape in one call under vmap.

        Any thread may ask for tasks that are `known`, several at once.
        """
        inputs, key = _tensors(tasks), _key(tasks)
        recording = self._recordings.get(key)
        if key in self._trusted and recording is not None:
            return self._split(_without_autocast(recording, inputs))
        plain = partial(self._values, tasks[0], len(tasks))
        if recording is not None:
            return self._split(self._compared(key, plain(*inputs), _without_autocast(recording, inputs)))
        if self.recordable and len(self._recordings) < N_SHAPES:
            try:
                recording = self._recordings[key] = Recording(plain, inputs)
                return self._split(recording.results)
            except UnrecordableError as error:
                _log.debug("tasks are computed as they are written: %s", error)
                self.recordable = False
        return self._split(plain(*inputs))

    def known(self, tasks: Sequence[Task]) -> bool:
        """Whether these tasks are replayed."""
        return _key(tasks) in self._trusted

    def convolves(self, tasks: Sequence[Task]) -> bool:
        """Whether these tasks are recorded, with a convolution among their operations."""
        recording = self._recordings.get(_key(tasks))
        return recording is not None and recording.convolves

    def _values(self, task: Task, n_tasks: int, *inputs: Tensor) -> Values:
        """Metrics, then gradients, each in memory of its own."""
        support, query = _filled(task, inputs)
        each, weights = same, self.weights
        if n_tasks > 1:
            each = partial(torch.func.vmap, randomness="different")
            weights = {name: w.expand(n_tasks, *w.shape) for name, w in weights.items()}
        metrics = self.task_loss(each, weights, task.support.objective, support, query)
        loss = metrics["loss"].sum() / self.n
        self._names = list(metrics)
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        sums = [value.detach().sum() for value in metrics.values()]
        return [*sums, *(None if g is None else g.clone() for g in gradients)]

    def _compared(self, key: object, plain: Values, replayed: Values) -> Values:
        if all(map(_agree, plain, replayed)):
            self._trusted.add(key)
            return plain
        warnings.warn(
            "the gradient of a task depends on more than the task and the values of the weights (a loss that "
            "counts its calls, say): tasks are computed as they are written, which is slower",
            RuntimeWarning,
            stacklevel=2,
        )
        self.recordable = False
        self._trusted.clear()
        self._recordings.clear()
        return plain

    def _split(self, values: Values) -> Found:
        n = len(self._names)
        metrics = {name: cast("Tensor", v) for name, v in zip(self._names, values[:n], strict=True)}
        return Found(metrics, values[n:])


def add_gradients(found: Iterable[Found], parameters: Sequence[Tensor], n: float) -> dict[str, float]:
    """Adds each task's to the parameters' gradients, in the order of the tasks; the means of the metrics."""
    totals: dict[str, float] = {}
    for one in found:
        for parameter, gradient in zip(parameters, one.gradients, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient
            elif gradient is not None:
                parameter.grad.add_(gradient)
        for name, value in one.metrics.items():
            totals[name] = totals.get(name, 0.0) + float(value) / n
    return totals


def one_after_another(gradients: TaskGradients, tasks: Sequence[Task]) -> Iterator[Found]:
    """The gradient of each task."""
    for task in tasks:
        yield gradients([task])


def in_one_call(gradients: TaskGradients, tasks: Sequence[Task]) -> Iterator[Found]:
    """The gradient of all tasks together, under vmap, where all have one shape."""
    if len({_shape(task) for task in tasks}) > 1:
        return one_after_another(gradients, tasks)
    return iter([gradients(tasks)])


def _without_autocast(recording: Recording, inputs: Sequence[Tensor]) -> Values:
    """What autocast chose is in the recording."""
    device = inputs[0].device.type
    if not torch.is_autocast_enabled(device):
        return recording(*inputs)
    with torch.autocast(device, enabled=False):
        return recording(*inputs)


def _agree(plain: Tensor | None, replayed: Tensor | None) -> bool:
    """Bit for bit, or nearly where the same computation differs from time to time."""
    if plain is None or replayed is None:
        return plain is replayed
    if torch.equal(plain, replayed):
        return True
    rounding = 0.0 if torch.are_deterministic_algorithms_enabled() else 1e-3
    size = float(plain.abs().nan_to_num().max())
    return torch.allclose(plain, replayed, rtol=rounding, atol=rounding * size, equal_nan=True)


def _tensors(tasks: Sequence[Task]) -> list[Tensor]:
    """Inputs and targets of support and query set, stacked where there are several tasks."""
    each = [_flat(task) for task in tasks]
    return each[0] if len(tasks) == 1 else [torch.stack(tensors) for tensors in zip(*each, strict=True)]


def _flat(task: Task) -> list[Tensor]:
    found: list[Tensor] = []
    for examples in (task.support, task.query):
        inputs = examples.inputs
        found += [inputs] if isinstance(inputs, Tensor) else inputs.values()
        found.append(examples.targets)
    return found


def _filled(task: Task, tensors: Sequence[Tensor]) -> tuple[Examples, Examples]:
    """The task's two sets, with these tensors in the place of its own."""
    waiting, sets = iter(tensors), []
    for examples in (task.support, task.query):
        given = examples.inputs
        inputs: Inputs = next(waiting) if isinstance(given, Tensor) else {n: next(waiting) for n in given}
        sets.append(Examples(inputs, next(waiting)))
    return sets[0], sets[1]


def _shape(task: Task) -> tuple[object, ...]:
    """What tasks must have in common to be stacked."""
    shapes: list[object] = [task.support.objective]
    for examples in (task.support, task.query):
        named = {"": examples.inputs} if isinstance(examples.inputs, Tensor) else examples.inputs
        shapes += [(name, tensor.shape, tensor.dtype) for name, tensor in named.items()]
        shapes.append(examples.targets.shape)
    return tuple(shapes)


def _key(tasks: Sequence[Task]) -> object:
    """What tasks must have in common to be computed by the same operations; strides decide about copies."""
    strides = tuple(t.stride() for t in _flat(tasks[0])) if len(tasks) == 1 else len(tasks)
    return strides, _shape(tasks[0])
