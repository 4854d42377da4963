"""The only inner loop: gradient descent on a task's loss, differentiable or not.

One implementation serves MAML (Finn, Abbeel and Levine 2017, arXiv:1703.03400, equation 1), its
first-order, head-only and learned-rate forms, and fine-tuning. Weights are a mapping from names to
tensors, of one task or stacked over tasks: a sum of independent losses has, for each task, that
task's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam

from coldstart_cli.core.tasks import Examples
from coldstart_cli.tracing import recorder

Weights = dict[str, Tensor]
State = dict[str, Any]
Rule = Callable[[Weights, Weights, State], tuple[Weights, State]]
"""(weights, gradients, state) -> (new weights, new state); the first state is empty.

The weights and gradients that it is given stay as they are; a state is its own, to change in place."""


def descend(
    loss: Callable[[Weights], Tensor], weights: Weights, rule: Rule, *, second_order: bool
) -> Iterator[Weights]:
    """Yields the weights before the first step, then after each step, without end.

    Args:
        loss: weights -> scalar, or (n_tasks,) where the weights are stacked over tasks.
        weights: what is adapted; every tensor requires a gradient.
        rule: the update, such as `sgd(0.4, momentum=0.0)`.
        second_order: keep the graph of the gradients, so that the result can be differentiated
            through them; otherwise they are constants, as in first-order MAML.
    """
    return (weights for weights, _ in descend_from({}, loss, weights, rule, second_order=second_order))


def descend_from(
    state: State, loss: Callable[[Weights], Tensor], weights: Weights, rule: Rule, *, second_order: bool
) -> Iterator[tuple[Weights, State]]:
    """As `descend`, from a state of the rule that earlier steps left, yielded with the weights."""
    while True:
        yield weights, state
        # The caller may evaluate under no_grad. The block ends before the yield, or the mode would leak
        # out.
        with torch.enable_grad():
            gradients = torch.autograd.grad(
                # The sum over tasks: each loss depends on its own task's weights alone, so gradients do not
                # mix.
                loss(weights).sum(),
                list(weights.values()),
                create_graph=second_order,
            )
            weights, state = rule(weights, dict(zip(weights, gradients, strict=True)), state)


def sgd(
    lr: float | Mapping[str, Tensor], momentum: float, *, dampening: float = 0.0, weight_decay: float = 0.0
) -> Rule:
    """w - lr * v with v = momentum * v + (1 - dampening) * g, g with decay, as torch.optim.SGD.

    `lr` may be a tensor for each weight. The first v is g, undamped.
    """

    def rule(weights: Weights, gradients: Weights, state: State) -> tuple[Weights, State]:
        if weight_decay > 0:
            gradients = {name: g + weight_decay * weights[name] for name, g in gradients.items()}
        velocity = gradients
        # As torch does it: the first velocity is the gradient itself, without dampening.
        if momentum > 0 and state:
            velocity = {
                name: momentum * state["velocity"][name] + (1 - dampening) * g
                for name, g in gradients.items()
            }
        # Meta-SGD has a rate for each weight, which may be learned and so carries a graph.
        rates = lr if isinstance(lr, Mapping) else dict.fromkeys(weights, lr)
        moved = {name: w - rates[name] * velocity[name] for name, w in weights.items()}
        return moved, {"velocity": velocity}

    return rule


def sgd_by_step(rates: Mapping[str, Tensor]) -> Rule:
    """w - rates[name][step] * g, rates (n_steps,) of each tensor; beyond the last step, by its rate."""

    def rule(weights: Weights, gradients: Weights, state: State) -> tuple[Weights, State]:
        step = state.get("step", 0)
        moved = {n: w - rates[n][min(step, len(rates[n]) - 1)] * gradients[n] for n, w in weights.items()}
        return moved, {"step": step + 1}

    return rule


def adam(lr: float | Callable[[int], float], *, beta1: float) -> Rule:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1) by torch's own kernel.

    Beta2 and epsilon are as published, and so is beta1 = 0.9; without momentum, beta1 = 0, it is the rule of
    Reptile's inner steps. `lr` may be a schedule: the rate of steps 0, 1, ... The new weights cannot be
    differentiated by the old ones.
    """

    def rule(weights: Weights, gradients: Weights, state: State) -> tuple[Weights, State]:
        recorder.refuse("Adam changes its means in place")
        # All contiguous: the kernel walks through memory, whatever the strides are.
        moved, given = _apart(weights.values()), [g.contiguous() for g in gradients.values()]
        if not state:
            means, squares = ([torch.zeros_like(g) for g in given] for _ in range(2))
            counts = [torch.zeros((), device=g.device) for g in given]
            state = {"means": means, "squares": squares, "counts": counts, "step": 0}
        torch_adam(
            moved,
            given,
            *(state["means"], state["squares"], [], state["counts"]),
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=0.999,
            lr=lr(state["step"]) if callable(lr) else lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
        after = {name: w.requires_grad_() for name, w in zip(weights, moved, strict=True)}
        return after, {**state, "step": state["step"] + 1}

    return rule


def _apart(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone(memory_format=torch.contiguous_format) for tensor in tensors]


def apart(prefixes: tuple[str, ...], theirs: Rule, others: Rule) -> Rule:
    """One rule for the weights whose names begin with one of `prefixes`, another for all others."""

    def rule(weights: Weights, gradients: Weights, state: State) -> tuple[Weights, State]:
        moved: Weights = {}
        states: State = {}
        for part, of in (("theirs", theirs), ("others", others)):
            names = [name for name in weights if name.startswith(prefixes) == (of is theirs)]
            own, given = {n: weights[n] for n in names}, {n: gradients[n] for n in names}
            # Only weights that there are: of none, Adam would count steps and move nothing.
            changed, states[part] = of(own, given, state.get(part, {})) if names else ({}, {})
            moved |= changed
        return {name: moved[name] for name in weights}, states

    return rule


def clipped(rule: Rule, most: float) -> Rule:
    """The rule on gradients of norm `most` at most, all weights together, as torch's clip_grad_norm_."""

    def clipping(weights: Weights, gradients: Weights, state: State) -> tuple[Weights, State]:
        norm = torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()
        share = (most / (norm + 1e-6)).clamp(max=1)
        return rule(weights, {name: share * g for name, g in gradients.items()}, state)

    return clipping


def rule_named(name: Literal["sgd", "adam"], lr: float, momentum: float) -> Rule:
    """The rule that a config names; momentum is used by sgd only."""
    return adam(lr, beta1=0.9) if name == "adam" else sgd(lr, momentum)


def carried_adam(lr: float) -> Rule:
    """`adam(lr, beta1=0.0)` with a state that tasks can hand on, and of which means can be taken.

    In place of the number of steps it holds the sum of the weights that each mean square has given to
    squares, `totals`: from 0 it is 1 - beta2^steps. The first state, `{"squares": ..., "totals": ...}`, is
    given; totals broadcast with the weights.
    """
    beta2, epsilon = 0.999, 1e-8

    def rule(weights: Weights, gradients: Weights, state: State) -> tuple[Weights, State]:
        squares = {n: beta2 * state["squares"][n] + (1 - beta2) * g * g for n, g in gradients.items()}
        totals = {n: beta2 * total + (1 - beta2) for n, total in state["totals"].items()}
        moved = {
            n: w - lr * gradients[n] / ((squares[n] / totals[n]).sqrt() + epsilon) for n, w in weights.items()
        }
        return moved, {"squares": squares, "totals": totals}

    return rule


def canonical(support: Examples) -> Examples:
    """The same examples in an order that does not depend on the order they came in.

    By target, then by content: mini-batches drawn from it are the same for every permutation.
    """
    return support.take(canonical_order(support))


def canonical_order(support: Examples) -> Tensor:
    """The indices (n,) of the examples in the order of `canonical`."""
    recorder.refuse("the examples are put in an order that depends on their values")
    inputs = [support.inputs] if isinstance(support.inputs, Tensor) else list(support.inputs.values())
    columns = [tensor.detach().cpu().flatten(1).numpy() for tensor in (*inputs, _column(support.targets))]
    # The order of the bytes has no meaning, but it is the same for every permutation.
    keys = [b"".join(column[i].tobytes() for column in reversed(columns)) for i in range(len(support))]
    order = sorted(range(len(support)), key=keys.__getitem__)
    return torch.tensor(order, dtype=torch.int64, device=support.targets.device)


def batches(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Indices into n examples, (min(batch_size, n),) each, without end: each epoch in a new random order.

    What is left of an epoch and does not fill a batch is completed from the next epoch.
    """
    # manual_seed refuses seeds of more than 64 bits, and its generator reads 32 of them.
    generator = torch.Generator().manual_seed(seed % 2**32)
    size, waiting = min(batch_size, n), torch.zeros(0, dtype=torch.int64)
    while True:
        while len(waiting) < size:
            waiting = torch.cat([waiting, torch.randperm(n, generator=generator)])
        yield waiting[:size]
        waiting = waiting[size:]


def _column(targets: Tensor) -> Tensor:
    return targets.unsqueeze(1) if targets.ndim == 1 else targets
