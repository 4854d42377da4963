"""Means of a mini-batch in parts, and running statistics that move in the order of tasks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from coldstart_cli.processes import batch_parts, ranks


@pytest.fixture
def two_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is one of two that have equal parts: a sum over both is twice its own."""
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(batch_parts.distributed, "all_reduce", lambda tensor: tensor.mul_(2))


def images(n: int) -> Tensor:
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_batch_mean_of_one_process_is_a_mean() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    with batch_parts.parts_of_a_batch():
        assert not batch_parts.in_parts()
        assert torch.equal(batch_parts.batch_mean(values), torch.tensor([2.0, 4.0]))


def test_batch_mean_is_of_all_parts_with_its_gradient(two_alike: None) -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0]], requires_grad=True)
    with batch_parts.parts_of_a_batch():
        assert batch_parts.in_parts()
        mean = batch_parts.batch_mean(values)
        mean.sum().backward()  # type: ignore[no-untyped-call]
    assert not batch_parts.in_parts()
    assert torch.equal(mean, torch.tensor([2.0, 4.0]))
    # Each of four rows weighs a quarter, in the losses of both processes.
    assert values.grad is not None and torch.equal(values.grad, torch.full((2, 2), 0.5))


def test_moments_are_of_the_whole_batch(two_alike: None) -> None:
    part = images(2)
    mean, var, n = batch_parts.moments(part)
    whole = torch.cat([part, part])
    assert n == 4 * 16
    assert torch.allclose(mean, whole.mean((0, 2, 3)))
    assert torch.allclose(var, whole.var((0, 2, 3), unbiased=False))


def test_moments_of_half_precision_are_in_single(two_alike: None) -> None:
    mean, var, _ = batch_parts.moments(images(2).bfloat16())
    assert mean.dtype == var.dtype == torch.float32


def test_a_statistic_of_one_process_moves_at_once() -> None:
    running = torch.tensor([1.0])
    batch_parts.move(running, torch.tensor([3.0]), 0.5)
    assert running.item() == 2.0
    batch_parts.settle(1, 1)
    assert running.item() == 2.0


def test_statistics_of_tasks_move_in_the_order_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tasks of two processes: this one has the first and the third, the other the second."""
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(ranks, "gathered", lambda mine: [mine, [torch.tensor([8.0])]])
    running, alone = torch.tensor([0.0]), torch.tensor([0.0])
    for value in (4.0, 16.0):
        batch_parts.move(running, torch.tensor([value]), 0.5)
    assert running.item() == 0.0  # not before the other's are known
    batch_parts.settle(2, 3)
    for value in (4.0, 8.0, 16.0):
        alone.lerp_(torch.tensor([value]), 0.5)
    assert torch.equal(running, alone) and not batch_parts._moves
