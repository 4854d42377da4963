"""Means over a mini-batch of which each process has a part, and running statistics in the order of tasks.

See ranks.py. With one process a mean is a mean, and a statistic moves at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd import Function

from coldstart_cli.processes import ranks
from coldstart_cli.tracing import recorder

_in_parts: ContextVar[bool] = ContextVar("_in_parts", default=False)
_moves: list[tuple[Tensor, Tensor, float]] = []


@contextlib.contextmanager
def parts_of_a_batch() -> Iterator[None]:
    """Inside, what this process computes is its part of one mini-batch, not a batch of its own."""
    token = _in_parts.set(ranks.world() > 1)
    try:
        yield
    finally:
        _in_parts.reset(token)


def in_parts() -> bool:
    return _in_parts.get()


def batch_mean(values: Tensor) -> Tensor:
    """The mean over the whole mini-batch, (n, ...) -> (...), with its gradient on every rank."""
    if not in_parts():
        return values.mean(0)
    sums = summed(torch.cat([values.sum(0).reshape(-1), values.new_tensor([float(len(values))])]))
    return (sums[:-1] / sums[-1]).view(values.shape[1:])


def moments(images: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance of each channel over the whole mini-batch, and how many values they are of.

    Args:
        images: this process's part, (n, width, H, W).
    """
    images = images.float() if images.dtype in (torch.bfloat16, torch.float16) else images
    n_mine = images.numel() // images.shape[1]
    sums = summed(torch.cat([images.sum((0, 2, 3)), images.new_tensor([float(n_mine)])]))
    n = int(sums[-1].detach())
    mean = sums[:-1] / n
    var = summed((images - mean[:, None, None]).square().sum((0, 2, 3))) / n
    return mean, var, n


class _Summed(Function):
    """The sum over ranks, whose gradient is the sum of all ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Summed.apply(grads[0])  # type: ignore[no-untyped-call]


def summed(tensor: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(tensor)  # type: ignore[no-untyped-call]
    return total


def move(running: Tensor, value: Tensor, momentum: float) -> None:
    """running += momentum (value - running); by tasks that ranks share, once all are known."""
    if ranks.world() == 1 or in_parts():
        running.lerp_(value.to(running.dtype), momentum)
    else:
        recorder.refuse("running statistics move")
        _moves.append((running, value.to(running.dtype).clone(), momentum))


@torch.no_grad()
def settle(n_mine: int, n_tasks: int) -> None:
    """Makes the moves of a step's tasks in the order of tasks, as one process would have made them."""
    if ranks.world() == 1:
        return
    everyones = ranks.gathered([value.cpu() for _, value, _ in _moves])
    each = len(_moves) // n_mine
    targets = [(running, momentum) for running, _, momentum in _moves[:each]]
    _moves.clear()
    for task in range(n_tasks) if targets else ():
        values = everyones[task % ranks.world()]
        first = task // ranks.world() * each
        for (running, momentum), value in zip(targets, values[first : first + each], strict=True):
            running.lerp_(value.to(running.device), momentum)
