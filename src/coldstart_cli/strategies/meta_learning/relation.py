"""Relation networks: a learned comparison of a query with each class.

Sung, Yang, Zhang, Xiang, Torr and Hospedales 2018, arXiv:1711.06025, equations 1 and 2: r_c = g([f_c, f(x)])
in [0, 1], f_c the mean feature of class c, and the loss sum_c (r_c - [y = c])^2.

Departures: g reads vectors, not feature maps, and f_c is the mean of the support features where the paper
takes the sum, both normalised, without which g dies in its first steps. Outputs are logits of r.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.tasks import (
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
from coldstart_cli.models.mlp import perceptron
from coldstart_cli.models.network import Encoder, below
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class RelationNetwork(Strategy):
    """Learns an encoder and how to compare what it gives.

    Args:
        encoder, optimizer, vectorize: from the run.
        hidden: units of the hidden layer of the comparison.
        meta_batch_size: tasks in one outer step.
    """

    needs_classes = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        vectorize: bool,
        *,
        hidden: Annotated[int, Ge(1)],
        meta_batch_size: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.encoder, self.vectorize = encoder, vectorize
        self.hidden, self.meta_batch_size = hidden, meta_batch_size
        self.relation = perceptron([2 * encoder.feature_dim, hidden, 1])
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self._task_loss,
            dict(self.named_parameters()),
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
        yield Adapted(partial(Comparison, self.encoder, self.relation, means), {"means": means})

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        def score(
            weights: Mapping[str, Tensor], support: Inputs, targets: Tensor, query: Inputs, asked: Tensor
        ) -> dict[str, Tensor]:
            inputs = joined(support, query)
            features = functional_call(self.encoder, below("encoder.", weights), (inputs,))
            means = prototypes(features[: n_examples(support)], targets, objective.n_outputs)
            pairs = paired(features[n_examples(support) :], means)
            outputs = functional_call(self.relation, below("relation.", weights), (pairs,)).squeeze(-1)
            right = one_hot(asked, objective.n_outputs).to(outputs.dtype)
            loss = (outputs.sigmoid() - right).square().sum(-1).mean()
            return {"loss": loss, **objective.metrics(outputs.detach(), asked)}

        found: dict[str, Tensor] = each(score)(
            weights, support.inputs, support.targets, query.inputs, query.targets
        )
        return found


class Comparison(nn.Module):
    """Logits of the relation with class means (n_way, feature_dim)."""

    means: Tensor

    def __init__(self, encoder: nn.Module, relation: nn.Module, means: Tensor) -> None:
        super().__init__()
        self.encoder, self.relation = encoder, relation
        self.register_buffer("means", means)

    def forward(self, inputs: Inputs) -> Tensor:
        outputs: Tensor = self.relation(paired(self.encoder(inputs), self.means)).squeeze(-1)
        return outputs


def paired(query: Tensor, means: Tensor) -> Tensor:
    """Each query beside each class: (n, d), (n_way, d) -> (n, n_way, 2 d)."""
    n, n_way = len(query), len(means)
    query, means = (F.layer_norm(features, features.shape[-1:]) for features in (query, means))
    return torch.cat([means.expand(n, *means.shape), query[:, None].expand(n, n_way, -1)], dim=-1)
