"""The gradient of a batch of tasks: one task after another, or all in one call under vmap."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from coldstart_cli.core.tasks import Examples, Objective, Task, TaskSource
from coldstart_cli.tracing import compiled
from coldstart_cli.tracing.compiled import Compiled
from coldstart_cli.tracing.recorder import Values
from coldstart_cli.tracing.replays import Replays
from coldstart_cli.tracing.watch import Watch
from coldstart_cli.training.randomness import seeded, step_seed


@dataclass(frozen=True, slots=True)
class Found:
    """What tasks contribute to a step: sums of their metrics, and a gradient for each parameter."""

    metrics: dict[str, Tensor]
    gradients: Values


def same(function: Callable[..., Any]) -> Callable[..., Any]:
    """The `training.Each` of one task."""
    return function


class TaskGradients:
    """Computes gradients of tasks that have the same shape.

    Args:
        task_loss, weights: as in `training.episodic`.
        parameters: with respect to which gradients are taken.
        n: the number of tasks in a batch; where each rank has a part of the batch, the number by which the
            mean over ranks becomes the mean over all tasks.

    Attributes:
        replays: recordings of the task loss and its gradient.
        random: the loss was seen to draw random numbers.
    """

    def __init__(
        self, task_loss: TaskLoss, weights: Mapping[str, Tensor], parameters: Sequence[Tensor], n: float
    ) -> None:
        self.task_loss, self.weights, self.parameters, self.n = task_loss, weights, list(parameters), n
        self.random = False
        of = f"the gradient of a task ({_name(task_loss)})"
        self.replays: Replays | Compiled = Compiled(of) if compiled.is_on() else Replays(of)
        self.watch = Watch(task_loss, weights, self.parameters, closed=(TaskSource,))
        self._names: list[str] = []

    def __call__(self, tasks: Sequence[Task]) -> Found:
        """The gradients of one task, or of several of one shape in one call under vmap."""
        function = partial(self._values, tasks[0], len(tasks))
        return self._found(self.replays(kind(tasks), function, _tensors(tasks), self.watch))

    def ready(self, tasks: Sequence[Task]) -> Callable[[], Found] | None:
        """The same by a replay, on any thread; None where a call on the main thread is needed."""
        replay = self.replays.ready(kind(tasks), _tensors(tasks), self.watch)
        return None if replay is None else lambda: self._found(replay())

    def _found(self, values: Values) -> Found:
        n = len(self._names)
        # A replay gives a flat list, metrics first; their names were noted when it was recorded.
        metrics = {name: cast("Tensor", v) for name, v in zip(self._names, values[:n], strict=True)}
        return Found(metrics, values[n:])

    def _values(self, task: Task, n_tasks: int, *inputs: Tensor) -> Values:
        """Metrics, then gradients; none of them share memory.

        Random numbers are the task's own: the trainer seeds torch by (seed, step), and the task is added.
        """
        seed = step_seed(torch.initial_seed(), task.support.seed)
        with seeded(seed, inputs[0].device) as chance:
            values = self._computed(task, n_tasks, *inputs)
        # Known only after the computation; from then on tasks are computed one by one.
        self.random |= chance.drawn
        return values

    def _computed(self, task: Task, n_tasks: int, *inputs: Tensor) -> Values:
        waiting = iter(inputs)
        support, query = (examples.map(lambda _: next(waiting)) for examples in _sets(task))
        each, weights = same, self.weights
        if n_tasks > 1:
            each = partial(torch.func.vmap, randomness="different")
            # A stride of 0 along the tasks: the weights are shared, and autograd sums their gradients over
            # tasks.
            weights = {name: w.expand(n_tasks, *w.shape) for name, w in weights.items()}
        metrics = self.task_loss(each, weights, task.support.objective, support, query)
        loss = metrics["loss"].sum() / self.n
        self._names = list(metrics)
        learning = [p for p in self.parameters if p.requires_grad]  # one may have been frozen since
        found = iter(torch.autograd.grad(loss, learning, allow_unused=True))
        gradients = [next(found) if p.requires_grad else None for p in self.parameters]
        sums = [value.detach().sum() for value in metrics.values()]
        # Cloned: autograd may give two parameters one tensor, and a replay's results must not share memory.
        return [*sums, *(None if g is None else g.clone() for g in gradients)]


def add_gradients(found: Iterable[Found], parameters: Sequence[Tensor], n: float) -> dict[str, float]:
    """Adds up the tasks' gradients, in the order of the tasks, and returns the means of the metrics."""
    totals: dict[str, float] = {}
    for one in found:
        for parameter, gradient in zip(parameters, one.gradients, strict=True):
            if parameter.grad is None:
                # The first gradient becomes `.grad` itself; later ones are added to it in place.
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
    """The gradient of all tasks together, under vmap, where all have one shape and none draws at random.

    In one call they would draw from one generator, and a task's draws would depend on the tasks beside it.
    """
    if len({_shape(task) for task in tasks}) == 1 and not gradients.random:
        found = gradients(tasks)
        if not gradients.random:  # known only after the very first call
            return iter([found])
    return one_after_another(gradients, tasks)


def _name(function: object) -> str:
    """`MAML._task_loss`."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def kind(tasks: Sequence[Task]) -> Hashable:
    """What tasks must have in common to be computed by the same operations; strides decide what is copied."""
    strides = tuple(t.stride() for t in _seen(tasks[0])) if len(tasks) == 1 else len(tasks)
    return strides, _shape(tasks[0])


def _tensors(tasks: Sequence[Task]) -> list[Tensor]:
    """Inputs and targets of support and query set, stacked where there are several tasks."""
    each = [_seen(task) for task in tasks]
    return each[0] if len(tasks) == 1 else [torch.stack(tensors) for tensors in zip(*each, strict=True)]


def _seen(task: Task) -> list[Tensor]:
    """The tensors of `_sets` in the order of `Examples.map`, whose copies would cost a tiny network time."""
    found: list[Tensor] = []
    for examples in (task.support, task.query):
        inputs = examples.inputs
        found += [inputs] if isinstance(inputs, Tensor) else inputs.values()
        found.append(examples.targets)
    return found


def _sets(task: Task) -> tuple[Examples, Examples]:
    """All that a task loss may see."""
    return Examples(task.support.inputs, task.support.targets), task.query


def _shape(task: Task) -> tuple[object, ...]:
    """What tasks must have in common to be stacked."""
    # The objective too: a regression's scale is a constant of a recording.
    shapes: list[object] = [task.support.objective]
    for examples in (task.support, task.query):
        inputs = examples.inputs
        if isinstance(inputs, Tensor):
            shapes += [("", inputs.shape, inputs.dtype), examples.targets.shape]
            continue
        shapes += [(name, tensor.shape, tensor.dtype) for name, tensor in inputs.items()]
        shapes.append(examples.targets.shape)
    return tuple(shapes)


Each = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Lifts a function of one task to all tasks of a batch: the identity, or torch.func.vmap."""


class TaskLoss(Protocol):
    def __call__(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """Scalars by name with `loss` first; (n_tasks,) each where everything is stacked over tasks.

        The operations that it calls for the first tasks of a shape are replayed for the others (tracing/), as
        long as all that it reads beside its arguments is unchanged: attributes of its strategy and of
        modules, what they hold, what a closure holds. Those may change at any step. What it reads elsewhere
        (a global of a function that it calls, a clock) is compared at every 100th replay, so up to 99 tasks
        may take the old loss before a warning says so; a loss that calls `recorder.refuse` is called every
        time. Random operations draw from torch's default generator, which is seeded for each task.
        """
