"""What sees every operation of torch, below autograd."""

from __future__ import annotations

from typing import Any

import torch

from coldstart_cli.tracing.dispatch import Mode


class Names(Mode):
    """Notes each operation, and does it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_mode_sees_forward_and_backward_while_it_lasts() -> None:
    a = torch.ones(2, requires_grad=True)
    with Names() as names:
        (a * 2).sum().backward()
    assert names.seen[:2] == ["aten.mul.Tensor", "aten.sum.default"]
    assert names.seen.count("aten.mul.Tensor") == 2  # once more for the gradient
    n = len(names.seen)
    _ = a + 1
    assert len(names.seen) == n and a.grad is not None and a.grad.tolist() == [2, 2]
