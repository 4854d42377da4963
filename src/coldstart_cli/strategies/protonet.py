"""Prototypical networks: classify by the nearest class mean in a learned space.

Snell, Swersky and Zemel 2017, arXiv:1703.05175, equations 1 and 2, with the squared Euclidean distance.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core import (
    Adapted,
    Examples,
    Inputs,
    Objective,
    Strategy,
    Support,
    TaskSource,
    joined,
    n_examples,
)
from coldstart_cli.discrepancy import squared_distances as squared_distances
from coldstart_cli.models.network import Encoder
from coldstart_cli.training import Each, OptimizerFactory, episodic


class ProtoNet(Strategy):
    """Learns an encoder in which a class is where its support examples' mean is.

    Args:
        encoder, optimizer, vectorize: from the run.
        meta_batch_size: tasks in one outer step.
    """

    needs_classes = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        vectorize: bool,
        *,
        meta_batch_size: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.encoder, self.vectorize, self.meta_batch_size = encoder, vectorize, meta_batch_size
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self._task_loss,
            dict(self.encoder.named_parameters()),
            source,
            self.optimizer,
            meta_batch_size=self.meta_batch_size,
            vectorize=self.vectorize,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            means = prototypes(self.encoder(support.inputs), support.targets, support.objective.n_outputs)
        yield Adapted(partial(NearestPrototype, self.encoder, means), {"prototypes": means})

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        score = each(partial(self._scores, objective))
        scores: dict[str, Tensor] = score(
            weights, support.inputs, support.targets, query.inputs, query.targets
        )
        return scores

    def _scores(
        self,
        objective: Objective,
        weights: Mapping[str, Tensor],
        support: Inputs,
        support_targets: Tensor,
        query: Inputs,
        query_targets: Tensor,
    ) -> dict[str, Tensor]:
        """One pass for both sets, so that batch statistics, where a norm uses them, are the task's."""
        features = functional_call(self.encoder, dict(weights), (joined(support, query),))
        n = n_examples(support)
        means = prototypes(features[:n], support_targets, objective.n_outputs)
        logits = -squared_distances(features[n:], means)
        return {
            "loss": objective.loss(logits, query_targets),
            **objective.metrics(logits.detach(), query_targets),
        }


class NearestPrototype(nn.Module):
    """Logits are negative squared distances to prototypes (n_way, feature_dim)."""

    prototypes: Tensor

    def __init__(self, encoder: nn.Module, prototypes: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("prototypes", prototypes)

    def forward(self, inputs: Inputs) -> Tensor:
        return -squared_distances(self.encoder(inputs), self.prototypes)


def prototypes(features: Tensor, targets: Tensor, n_way: int) -> Tensor:
    """The mean feature of each class. (n, d), (n,) -> (n_way, d). A class without examples is at 0."""
    members = nn.functional.one_hot(targets, n_way).to(features.dtype)
    return (members.T @ features) / members.sum(0).clamp(min=1).unsqueeze(1)
