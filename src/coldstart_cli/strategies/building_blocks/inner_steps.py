"""What strategies share whose training takes gradient steps on the support set of each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Annotated, TypedDict

from annotated_types import Ge, Gt
from torch import Tensor

from coldstart_cli.core.tasks import Examples, Inputs, Objective
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
) -> dict[str, Tensor]:
    """Loss and metrics on the query set after `inner_steps` on the support set.

    Args:
        each, objective, support, query: as in `training.TaskLoss`.
        outputs_of: (weights, inputs) -> (n, n_outputs), of one task.
        weights: all of them; `moving`, those that the steps change, in place of their namesakes.
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
    moved = next(islice(steps, inner_steps, None))
    found: dict[str, Tensor] = each(scores_of)({**weights, **moved}, query.inputs, query.targets)
    return found


def parameter_key(name: str) -> str:
    """A parameter's name in the form that a ParameterDict allows."""
    return name.replace(".", "/")
