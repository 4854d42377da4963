"""Recordings: the same bits as what was recorded, on other values, and nothing recorded that would lie."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from subprocess import run

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.tracing.recorder import Values
from coldstart_cli.tracing.recording import Recording

OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda a, b: a + b,
    "product": lambda a, b: a * b,
    "matrix product": lambda a, b: a @ b.T @ a,
    "relu": lambda a, b: F.relu(a - 0.1 * b),
    "turned twice": lambda a, b: a.T.T + b,
    "times one": lambda a, b: a * 1 + b / 1,
    "same twice": lambda a, b: (a * b) + (a * b),
    "parts": lambda a, b: torch.cat([part * 2 for part in a.split(2, 1)], 1) + b,
    "norm": lambda a, b: F.layer_norm(a, (4,)) * b,
    "greatest": lambda a, b: a.max(1, keepdim=True).values + b,
    "scatter": lambda a, b: a[:, [3, 1, 0, 1]] + b,
    "expanded": lambda a, b: a[:1].expand(4, 4) * b,
    "in place": lambda a, b: F.relu(b + 1).mul(2).add_(1) * a + (a * 2).detach().add_(b),
    "one of two in place": lambda a, b: (a * 3) + (a * 3).detach().add_(b),
    "view in place": lambda a, b: zeroed((a * 2 + b).detach().contiguous()) * b,
    "shape in place": lambda a, b: ((a + b).unsqueeze_(0) * a).squeeze_(0).t_(),
    "scaled in place": lambda a, b: added((b + 0).detach()) + a,
    "constant": lambda a, b: a * torch.ones_like(b) + torch.arange(4),
}


def zeroed(a: Tensor) -> Tensor:
    """Of two tensors in one memory, the one that was not told."""
    b = a.view(2, 8)
    b[0].zero_()
    return a


def added(a: Tensor) -> Tensor:
    """A product with 1 is a tensor of its own."""
    b = a * 1
    b += 1
    return a - b * 2


def values(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 4, generator=generator), torch.randn(4, 4, generator=generator)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=6))
def test_replay_has_the_bits_of_the_function(names: list[str]) -> None:
    """Values, first and second derivatives, of any chain of operations."""

    def function(a: Tensor, b: Tensor) -> Values:
        a, b = a.detach().requires_grad_(), b.detach().requires_grad_()
        result = a
        for name in names:
            result = torch.tanh(OPERATIONS[name](result, b))
        first = torch.autograd.grad(result.square().sum(), [a, b], create_graph=True, allow_unused=True)
        known = [g for g in first if g is not None]
        second = torch.autograd.grad(sum(g.square().sum() for g in known), [a, b], allow_unused=True)  # type: ignore[misc]
        return [result.detach(), *(None if g is None else g.detach() for g in (*first, *second))]

    replay = Recording(function, values(0))
    for seed in (0, 1):
        for found, expected in zip(replay(*values(seed)), function(*values(seed)), strict=True):
            assert (found is None) == (expected is None)
            if found is not None and expected is not None:
                assert torch.equal(found, expected)


def test_replay_reads_captured_tensors_where_they_lie() -> None:
    w = torch.ones(4, 4)
    replay = Recording(lambda a: [a @ w], values(0)[:1])
    w.mul_(3)
    a, _ = values(1)
    assert torch.equal(replay(a)[0], a @ w)  # type: ignore[arg-type]


def test_results_are_copies_of_what_is_no_new_tensor() -> None:
    w = torch.ones(4)

    def function(a: Tensor) -> Values:
        total = a + 1
        return [a, w, total, total, total[0], a.expand(2, 4, 4)]

    a, _ = values(0)
    results = Recording(function, [a])(a)
    for tensor in results:
        assert tensor is not None
        tensor.zero_()
    assert len({t.untyped_storage().data_ptr() for t in results if t is not None}) == 6
    assert w.tolist() == [1] * 4
    assert a.abs().sum() > 0


def test_replay_is_called_by_several_threads_at_once() -> None:
    replay = Recording(lambda a, b: [a @ b, (a * b).sum()], values(0))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: replay(*values(seed)), range(40)))
    for seed, (product, _) in enumerate(found):
        a, b = values(seed)
        assert torch.equal(product, a @ b)  # type: ignore[arg-type]


def test_replay_frees_what_it_no_longer_needs() -> None:
    def function(a: Tensor) -> Values:
        for _ in range(8):
            a = a * 2
        return [a.sum()]

    code = Recording(function, values(0)[:1]).code
    assert code.count(" = None") == 9, code


def test_tracing_does_not_import_a_compiler() -> None:
    code = (
        "import sys, torch\nfrom coldstart_cli.tracing.flops import flops\n"
        "from coldstart_cli.tracing.recording import Recording\n"
        "Recording(lambda a: [a + 1], [torch.ones(2)])\n"
        "assert flops(lambda: torch.ones(2, 2) @ torch.ones(2, 2)) == 16\n"
        "assert 'torch._dynamo' not in sys.modules and 'sympy' not in sys.modules"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
