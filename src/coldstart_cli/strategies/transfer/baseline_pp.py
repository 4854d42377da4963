"""Baseline++: transfer by a classifier of directions, for the source's classes and for the new ones.

Chen, Liu, Kira, Wang and Huang 2019, arXiv:1904.04232, section 3.2.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.models.cosine import CosineHead, cosine_scale
from coldstart_cli.models.network import Encoder, Network, Predictor
from coldstart_cli.strategies.building_blocks.source_classifier import (
    descended,
    fit_classifier,
    head_loss,
    weights_of,
)
from coldstart_cli.training.inner_loop import sgd
from coldstart_cli.training.optimizers import OptimizerFactory


class BaselinePP(Strategy):
    """Trains encoder and cosine head on the source, then a new cosine head on frozen features.

    A cosine head cannot start at zero: every task's starts at the same random weights; where the task's
    classes are classes of the source, at the source head's rows. Mini-batches are those of
    `inner_loop.batches`, which completes the last one of an epoch from the next; the paper's code leaves it
    smaller.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        batch_size: source examples in one outer step.
        scale: of the cosines, or None for `cosine_scale` of the number of classes, as in the paper's code.
        support_batch_size: examples of the support set in one step of adaptation.
        lr: learning rate of adaptation, by SGD.
        momentum, dampening, weight_decay: of this SGD.
    """

    needs_classes = True
    needs_labels = False
    replayable = False
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        batch_size: Annotated[int, Ge(1)],
        scale: Annotated[float, Gt(0)] | None,
        support_batch_size: Annotated[int, Ge(1)],
        lr: Annotated[float, Gt(0)],
        momentum: Annotated[float, Ge(0), Le(1)],
        dampening: Annotated[float, Ge(0), Le(1)],
        weight_decay: Annotated[float, Ge(0)],
    ) -> None:
        super().__init__()
        self.seed, self.batch_size, self.scale = seed, batch_size, scale
        self.support_batch_size, self.lr, self.momentum = support_batch_size, lr, momentum
        self.dampening, self.weight_decay = dampening, weight_decay
        self.network = Network(encoder, self._head(encoder.feature_dim, n_source_outputs))
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_classifier(
            self.network, source, self.optimizer, batch_size=self.batch_size, seed=self.seed, start=start
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every mini-batch; only once, the unchanged source model, where there are no labels."""
        network = Network(self.network.encoder, self._head_for(support))
        loss = head_loss(network, support, self.support_batch_size)
        rule = sgd(self.lr, self.momentum, dampening=self.dampening, weight_decay=self.weight_decay)
        for changed in descended(loss, weights_of(network, "head."), rule, support):
            yield Adapted(partial(Predictor, network, changed), changed)

    def _head_for(self, support: Support) -> CosineHead:
        source_head = self.network.head
        assert isinstance(source_head, CosineHead)
        head = self._head(source_head.in_features, support.objective.n_outputs).to(source_head.weight)
        if support.source_classes is not None:
            # By the source's number of classes, not the task's: the rows were trained under it.
            head.scale = source_head.scale
            with torch.no_grad():
                head.weight.copy_(source_head.weight[support.source_classes])
                head.norm.copy_(source_head.norm[support.source_classes])
        return head

    def _head(self, feature_dim: int, n_outputs: int) -> CosineHead:
        scale = cosine_scale(n_outputs) if self.scale is None else self.scale
        return CosineHead(feature_dim, n_outputs, scale, self.seed)
