"""What strategies over a classifier of all source classes share: its training, and the new task's head."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from coldstart_cli.core import Examples, Objective, Support, TaskSource
from coldstart_cli.models.network import Network, linear_head
from coldstart_cli.training import supervised


def fit_classifier(
    network: Network,
    source: TaskSource,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: int,
    seed: int,
    start: int,
) -> Iterator[dict[str, float]]:
    """Trains encoder and head on the pool of all source examples, for ever; as `training.supervised`."""

    def batch_loss(objective: Objective, batch: Examples) -> dict[str, Tensor]:
        return scores(objective, network(batch.inputs), batch.targets)

    return supervised(
        batch_loss,
        source.pool("train"),
        optimizer,
        batch_size=batch_size,
        seed=seed,
        device=network.head.weight.device,
        start=start,
    )


def scores(objective: Objective, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """`loss`, with its graph, and the objective's metrics, without."""
    return {"loss": objective.loss(outputs, targets), **objective.metrics(outputs.detach(), targets)}


def head_for(support: Support, source_head: nn.Linear, *, keep: bool) -> nn.Linear:
    """A head for the task: at zero, or at the source head's rows where its outputs are the source's.

    Args:
        keep: whether the source head has learned anything that is worth keeping.
    """
    head = linear_head(source_head.in_features, support.objective.n_outputs).to(source_head.weight)
    with torch.no_grad():
        if support.source_classes is None or not keep:
            head.weight.zero_()
            head.bias.zero_()
        else:
            head.weight.copy_(source_head.weight[support.source_classes])
            head.bias.copy_(source_head.bias[support.source_classes])
    return head
