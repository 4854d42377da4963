"""Tasks of a meta-batch on threads of their own: for convolutions on a CPU.

Two cores that share out one small convolution wait for each other at every operation, and where a
neighbour wants one of them the other waits for all of its time. Two cores with a task each do not.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from queue import SimpleQueue
from types import MethodType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from coldstart_cli.core import Task
from coldstart_cli.meta_steps import same

if TYPE_CHECKING:
    from coldstart_cli.training import TaskLoss

Found = tuple[dict[str, Tensor], list[Tensor | None]]
"""Metrics of one task, and the gradient of its share of the loss by each parameter."""


class TaskThreads:
    """Gradients of tasks, computed side by side and summed in the order of the tasks.

    So the sum has the same bits whatever thread was first, and whatever the number of threads as long as
    each task has one: those of the plain loop on one thread. Each thread has modules of its own, for a
    functional call changes the tree while it lasts, around parameters of its own, for gradients, in the
    memory of the originals.

    Args:
        task_loss, weights: as in `training.episodic`.
        n_threads: of all tasks together; `n_tasks`, how many are computed in one step.
    """

    def __init__(
        self, task_loss: TaskLoss, weights: Mapping[str, Tensor], n_threads: int, n_tasks: int
    ) -> None:
        self.n_threads, self.n_workers = n_threads, min(n_threads, n_tasks)
        self.n_each = n_threads // self.n_workers
        self.parameters = [w for w in _tensors(task_loss, weights) if w.requires_grad and w.is_leaf]
        self.replicas: SimpleQueue[_Replica] = SimpleQueue()
        for _ in range(self.n_workers):
            self.replicas.put(_Replica(task_loss, weights, self.parameters))
        self.pool = ThreadPoolExecutor(
            self.n_workers, "task", initializer=torch.set_num_threads, initargs=(self.n_each,)
        )

    def step(
        self, task_loss: TaskLoss, weights: Mapping[str, Tensor], tasks: list[Task], n: float
    ) -> dict[str, float]:
        """What `meta_steps.looped_step` does.

        Raises:
            Exception: what a task raised; no other task is begun then.
        """
        device = tasks[0].support.targets.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        work = partial(self._work, n, device, precision)
        waiting: deque[Future[Found]] = deque()
        found: list[dict[str, Tensor]] = []
        torch.set_num_threads(self.n_each)  # matrix products ask the process, not the thread
        try:
            for task in tasks:
                waiting.append(self.pool.submit(work, task))
                if len(waiting) == 2 * self.n_workers:  # no more gradients than that are kept
                    found.append(self._added(waiting.popleft()))
            while waiting:
                found.append(self._added(waiting.popleft()))
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)
            torch.set_num_threads(self.n_threads)
        return {name: sum(float(metrics[name]) / n for metrics in found) for name in found[0]}

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)

    def _work(self, n: float, device: str, precision: torch.dtype | None, task: Task) -> Found:
        replica = self.replicas.get()
        try:
            with torch.autocast(device, precision, enabled=precision is not None):
                return replica.gradients(n, task)
        finally:
            self.replicas.put(replica)

    def _added(self, future: Future[Found]) -> dict[str, Tensor]:
        metrics, gradients = future.result()
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient
            elif gradient is not None:
                parameter.grad.add_(gradient)
        return metrics


class _Replica:
    """A task loss whose modules and parameters are its own; tensors lie in the originals' memory."""

    def __init__(self, task_loss: TaskLoss, weights: Mapping[str, Tensor], parameters: list[Tensor]) -> None:
        own = [nn.Parameter(p.detach()) for p in parameters]
        memo: dict[int, object] = {id(tensor): tensor for tensor in _tensors(task_loss, weights)}
        for module in _modules(task_loss):
            kept = [v for m in module.modules() for v in vars(m).values()]
            memo |= {id(v): v for v in kept if isinstance(v, torch.optim.Optimizer)}
        memo |= {id(p): replica for p, replica in zip(parameters, own, strict=True)}
        self.parameters: list[nn.Parameter] = own
        self.weights = copy.deepcopy(dict(weights), memo)
        self.task_loss: TaskLoss = copy.deepcopy(task_loss, memo)

    def gradients(self, n: float, task: Task) -> Found:
        try:
            metrics = self.task_loss(same, self.weights, task.support.objective, task.support, task.query)
            torch.autograd.backward(metrics["loss"] / n)
            gradients = [p.grad for p in self.parameters]
        finally:
            for parameter in self.parameters:
                parameter.grad = None
        return {name: value.detach() for name, value in metrics.items()}, gradients


def one_thread_each(task_loss: TaskLoss, weights: Mapping[str, Tensor], n_tasks: int) -> bool:
    """Whether tasks that are computed one after another are better computed side by side.

    Networks without convolutions spend their time in Python, of which one thread runs at a time. What
    draws random numbers or moves statistics as it goes would do so in a random order.
    """
    layers = [layer for module in _modules(task_loss) for layer in module.modules()]
    return (
        min(n_tasks, torch.get_num_threads()) > 1
        and next(iter(weights.values())).device.type == "cpu"
        and any(isinstance(layer, nn.Conv1d | nn.Conv2d) for layer in layers)
        and not any(isinstance(layer, _DropoutNd) and layer.p > 0 for layer in layers)
        and not any(getattr(layer, "running_statistics", False) for layer in layers)
    )


def _modules(callable_: object) -> list[nn.Module]:
    """Those that a bound method or a partial call holds."""
    if isinstance(callable_, nn.Module):
        return [callable_]
    if isinstance(callable_, MethodType):
        return _modules(callable_.__self__)
    if isinstance(callable_, partial):
        held = (callable_.func, *callable_.args, *callable_.keywords.values())
        return [module for part in held for module in _modules(part)]
    return []


def _tensors(task_loss: TaskLoss, weights: Mapping[str, Tensor]) -> list[Tensor]:
    """All weights, parameters and buffers, each once, always in the same order."""
    modules = _modules(task_loss)
    found = [*weights.values(), *(t for m in modules for t in (*m.parameters(), *m.buffers()))]
    return list({id(tensor): tensor for tensor in found}.values())
