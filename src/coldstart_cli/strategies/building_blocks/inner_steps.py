"""What strategies share whose training takes gradient steps on the support set of each task."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Annotated, TypedDict

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.training.inner_loop import Rule, Weights, descend
from coldstart_cli.training.meta_batch import Each


class InnerSteps(TypedDict):
    """Hyper-parameters of all of them.

    Attributes:
        inner_lr: rate of the inner steps.
        inner_steps: steps on the support set in training.
        meta_batch_size: tasks in one outer step.
    """

    inner_lr: Annotated[float, Gt(0)]
    inner_steps: Annotated[int, Ge(1)]
    meta_batch_size: Annotated[int, Ge(1)]


_STANDSTILL = 0.02
"""Share of a support set's loss that inner steps take at least; published settings take .05 to .3 of it."""
_USUAL = 0.2


class DifferentiableSteps(InnerSteps):
    """Hyper-parameters of those whose outer gradient flows through the inner steps.

    Attributes:
        second_order: differentiate the inner gradients too; without, they are constants (first order).
    """

    second_order: bool


def scores_after(
    each: Each,
    outputs_of: Callable[[Mapping[str, Tensor], Inputs], Tensor],
    objective: Objective,
    weights: Mapping[str, Tensor],
    moving: Weights,
    support: Examples,
    query: Examples,
    *,
    rule: Rule,
    inner_steps: int,
    second_order: bool,
    step_weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """Loss and metrics on the query set after `inner_steps` on the support set.

    Args:
        each, objective, support, query: as in `training.TaskLoss`.
        outputs_of: (weights, inputs) -> (n, n_outputs), of one task.
        weights: all of them; `moving`, those that the steps change, in place of their namesakes.
        step_weights: (inner_steps,), or (n_tasks, inner_steps) where all is stacked over tasks: the loss is
            the sum of the losses after each step, so weighted. None: the last one's.
    """

    def scores_of(weights: Mapping[str, Tensor], inputs: Inputs, targets: Tensor) -> dict[str, Tensor]:
        return scores(objective, outputs_of(weights, inputs), targets)

    def loss(weights: Mapping[str, Tensor], inputs: Inputs, targets: Tensor) -> Tensor:
        return objective.loss(outputs_of(weights, inputs), targets)

    # Lifted once: every inner step calls it with other weights.
    support_loss = each(loss)
    steps = descend(
        lambda moved: support_loss({**weights, **moved}, support.inputs, support.targets),
        moving,
        rule,
        second_order=second_order,
    )
    # Item n of the generator is the weights after n steps.
    if step_weights is None:
        last = next(islice(steps, inner_steps, None))
        found: dict[str, Tensor] = each(scores_of)({**weights, **last}, query.inputs, query.targets)
        return found
    *before, last = islice(steps, 1, inner_steps + 1)
    query_loss = each(loss)
    losses = [query_loss({**weights, **moved}, query.inputs, query.targets) for moved in before]
    found = each(scores_of)({**weights, **last}, query.inputs, query.targets)
    return {**found, "loss": (step_weights * torch.stack([*losses, found["loss"]], -1)).sum(-1)}


def warn_of_standstill(strategy: Strategy, encoder: Encoder, source: TaskSource, inner: InnerSteps) -> None:
    """Warns where the inner steps on the first training tasks leave the loss of the support set as it is.

    A gradient of the head is as long as the features are, so a rate that suits those of images is no step
    over pretrained ones of length 1. An encoder that learns makes its features longer; a frozen one cannot,
    so only then anything is said. The remedy goes by first order: the loss falls in proportion to the rate.
    """
    if any(parameter.requires_grad for parameter in encoder.parameters()):
        return
    device = next(strategy.parameters()).device
    falls = []
    for task in source.tasks("train", range(3)):
        support = task.support.to(device)
        adapted = strategy.adapt(support)
        with torch.no_grad():
            before, after = (
                float(support.objective.loss(step.module(support.inputs), support.targets))
                for step in islice(adapted, 0, inner["inner_steps"] + 1, inner["inner_steps"])
            )
        falls.append(1 - after / before if before > 0 else 1.0)
    largest = max(falls, key=abs)
    if abs(largest) < _STANDSTILL:
        lr, steps = inner["inner_lr"], inner["inner_steps"]
        better = f"{lr * _USUAL / max(abs(largest), 1e-6):.0e}"
        warnings.warn(
            f"strategy.inner_lr: {lr:g} changes the loss on a support set by {abs(largest):.1%} in {steps} "
            f"inner step{'s' * (steps > 1)}, so tasks hardly adapt; give a larger one, about "
            f"strategy.inner_lr={float(better):g}",
            RuntimeWarning,
            stacklevel=2,
        )


def parameter_key(name: str) -> str:
    """A parameter's name in the form that a ParameterDict allows."""
    return name.replace(".", "/")
