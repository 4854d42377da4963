"""The inner loop: its rules are torch's optimizers, and its second order is the exact one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor

from coldstart_cli.training.inner_loop import Rule, Weights, adam, apart, clipped, descend, rule_named, sgd

Optimizer = Callable[[list[Tensor]], torch.optim.Optimizer]
CASES: list[tuple[Rule, Optimizer]] = [
    (sgd(0.1, 0.0), lambda p: torch.optim.SGD(p, 0.1)),
    (sgd(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    (adam(0.05, beta1=0.9), lambda p: torch.optim.Adam(p, 0.05)),
    (adam(0.05, beta1=0.0), lambda p: torch.optim.Adam(p, 0.05, betas=(0.0, 0.999))),
]


def test_adam_takes_the_rate_of_each_step_from_a_schedule() -> None:
    weights, rates = start(), [0.3, 0.1, 0.2]
    reference = start()
    optimizer = torch.optim.Adam(list(reference.values()), 1.0)
    for rate, moved in zip(
        rates,
        islice(descend(bowl, weights, adam(rates.__getitem__, beta1=0.9), second_order=False), 1, 4),
        strict=True,
    ):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        torch.autograd.backward(bowl(reference))
        optimizer.step()
        torch.testing.assert_close(moved, reference)


def start(*shape: int) -> Weights:
    generator = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(*shape, 3, generator=generator, dtype=torch.float64).requires_grad_(),
        "b": torch.randn(*shape, 2, generator=generator, dtype=torch.float64).requires_grad_(),
    }


def bowl(weights: Weights) -> Tensor:
    """(n_tasks, ...) -> (n_tasks,): not quadratic, and the weights interact."""
    a, b = weights["a"], weights["b"]
    return (a**4).sum(-1) + (b.sin() * a[..., :2]).sum(-1) + (b**2).sum(-1)


@pytest.mark.parametrize(("rule", "optimizer"), CASES)
def test_rules_equal_torchs_optimizers(rule: Rule, optimizer: Optimizer) -> None:
    ours = descend(bowl, start(), rule, second_order=False)
    theirs = start()
    torchs = optimizer(list(theirs.values()))
    for weights in islice(ours, 6):
        for name, weight in weights.items():
            torch.testing.assert_close(weight, theirs[name], rtol=1e-9, atol=1e-10)
        torchs.zero_grad()
        bowl(theirs).backward()  # type: ignore[no-untyped-call]
        torchs.step()


def test_rule_named_gives_momentum_to_sgd_alone() -> None:
    for name, rule in (("sgd", sgd(0.1, 0.9)), ("adam", adam(0.1, beta1=0.9))):
        named = rule_named(name, 0.1, 0.9)  # type: ignore[arg-type]
        ours = next(islice(descend(bowl, start(), named, second_order=False), 3, None))
        theirs = next(islice(descend(bowl, start(), rule, second_order=False), 3, None))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_sgd_takes_a_rate_for_every_weight() -> None:
    weights = start()
    rates = {"a": torch.tensor([0.0, 0.1, -0.1]).double(), "b": torch.full((2,), 0.2).double()}
    gradients = {name: torch.ones_like(w) for name, w in weights.items()}
    moved, _ = sgd(rates, 0.0)(weights, gradients, {})
    torch.testing.assert_close(moved["a"], weights["a"] - rates["a"])
    torch.testing.assert_close(moved["b"], weights["b"] - 0.2)


def test_apart_gives_each_part_the_rule_it_has_alone() -> None:
    start = {"head.w": torch.tensor([1.0, 2.0]), "body": torch.tensor([3.0]), "head.b": torch.tensor([4.0])}
    both, alone = apart(("head.",), adam(0.5, beta1=0.9), sgd(0.1, 0.9)), dict(start)
    for names, rule in ((("head.w", "head.b"), adam(0.5, beta1=0.9)), (("body",), sgd(0.1, 0.9))):
        part, state = {n: start[n] for n in names}, {}
        for _ in range(3):
            part, state = rule(part, {n: 2 * w for n, w in part.items()}, state)
        alone |= part
    weights, state = start, {}
    for _ in range(3):
        weights, state = both(weights, {n: 2 * w for n, w in weights.items()}, state)
    assert list(weights) == list(start)
    assert all(torch.equal(w, alone[n]) for n, w in weights.items())
    moved, _ = both({"body": start["body"]}, {"body": start["body"]}, {})  # a part may be absent
    assert moved["body"].item() == pytest.approx(2.7)


def test_descend_yields_the_initial_weights_first_and_changes_nothing() -> None:
    weights = start()
    before = {name: w.detach().clone() for name, w in weights.items()}
    steps = descend(bowl, weights, adam(0.1, beta1=0.9), second_order=False)
    first = next(steps)
    assert all(first[name] is weights[name] for name in weights)
    assert not torch.equal(next(steps)["a"], before["a"])
    next(steps)
    assert all(torch.equal(weights[name], before[name]) for name in weights)
    assert all(w.grad is None for w in weights.values())


def test_descend_works_where_the_caller_has_gradients_off() -> None:
    weights = start()
    expected = next(islice(descend(bowl, weights, sgd(0.1, 0.0), second_order=False), 2, None))
    with torch.no_grad():
        found = next(islice(descend(bowl, weights, sgd(0.1, 0.0), second_order=False), 2, None))
        assert not torch.is_grad_enabled()
    assert torch.equal(found["a"], expected["a"])


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("second_order", [True, False])
def test_meta_gradient_equals_the_closed_form_of_a_quadratic(n_steps: int, second_order: bool) -> None:
    """Loss w'Aw/2: w_n = (I - lr A)^n w, so d(c'w_n)/dw = (I - lr A)^n c; in first order it is c."""
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    matrix, c = root @ root.T, torch.randn(3, generator=generator, dtype=torch.float64)
    w = torch.randn(3, generator=generator, dtype=torch.float64).requires_grad_()
    steps = descend(
        lambda weights: weights["w"] @ matrix @ weights["w"] / 2,
        {"w": w},
        sgd(0.1, 0.0),
        second_order=second_order,
    )
    adapted = next(islice(steps, n_steps, None))["w"]
    power = torch.linalg.matrix_power(torch.eye(3, dtype=torch.float64) - 0.1 * matrix, n_steps)
    torch.testing.assert_close(adapted, power @ w)
    (gradient,) = torch.autograd.grad(c @ adapted, w)
    torch.testing.assert_close(gradient, power @ c if second_order else c)


@pytest.mark.parametrize("rule", [case[0] for case in CASES])
def test_stacked_tasks_descend_as_separate_ones(rule: Rule) -> None:
    stacked = start(4)
    together = next(islice(descend(bowl, stacked, rule, second_order=False), 3, None))
    for task in range(4):
        alone = {name: w[task].detach().requires_grad_() for name, w in stacked.items()}
        weights = next(islice(descend(bowl, alone, rule, second_order=False), 3, None))
        for name, weight in weights.items():
            torch.testing.assert_close(together[name][task], weight, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("most", [0.5, 100.0])
def test_clipped_gradients_equal_torchs(most: float) -> None:
    start = {"a": torch.tensor([3.0, -1.0]), "b": torch.tensor([[2.0]])}
    given = {"a": torch.tensor([0.3, 4.0]), "b": torch.tensor([[-2.0]])}
    moved, _ = clipped(sgd(0.1, momentum=0.0), most)(start, given, {})
    expected = [torch.nn.Parameter(w.clone()) for w in start.values()]
    for weight, gradient in zip(expected, given.values(), strict=True):
        weight.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(expected, most)
    torch.optim.SGD(expected, 0.1).step()
    for name, weight in zip(start, expected, strict=True):
        torch.testing.assert_close(moved[name], weight.detach())


def test_adam_reads_gradients_and_weights_by_their_strides() -> None:
    """The kernel walks through memory; a transposed gradient must not be read in its order."""
    weight, gradient = torch.randn(3, 4).t().requires_grad_(), torch.randn(3, 4).t()
    moved, _ = adam(0.1, beta1=0.9)({"w": weight}, {"w": gradient}, {})
    torch.testing.assert_close(moved["w"], (weight - 0.1 * gradient.sign()).detach(), atol=1e-4, rtol=0)
