"""Losses and metrics of outputs, and why a head may not fit a task."""

from __future__ import annotations

from torch import Tensor

from coldstart_cli.core.tasks import Objective, TaskSource


def other_width(n_outputs: int, tasks: TaskSource) -> str | None:
    """Why a learned head of `n_outputs` cannot serve these tasks, or None when it can."""
    if tasks.unequal:
        return (
            "its head has one width and these tasks have different numbers of classes; "
            "choose strategy=protonet or proto_maml, or dataset.unequal=false"
        )
    wanted = tasks.objective.n_outputs
    if wanted == n_outputs:
        return None
    return (
        f"its head was built for {n_outputs} outputs and the task has {wanted}; "
        f"train with dataset.n_way={wanted}"
    )


def scores(objective: Objective, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """`loss`, with its graph, and the objective's metrics, without."""
    return {"loss": objective.loss(outputs, targets), **objective.metrics(outputs.detach(), targets)}
