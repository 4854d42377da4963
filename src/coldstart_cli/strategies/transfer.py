"""Transfer learning: a source classifier's weights are where the new task's network starts.

Fine-tuning and linear probing as in Chen, Liu, Kira, Wang and Huang 2019, arXiv:1904.04232 (section 3.2,
"Baseline"), and Kornblith, Shlens and Le 2019, arXiv:1805.08974. Without source training it is `scratch`,
the baseline that every transfer gain is measured against.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from itertools import islice
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from coldstart_cli.adaptation import Weights, descend, rule_named
from coldstart_cli.core import Adapted, Strategy, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.strategies.source_classifier import fit_classifier, head_for
from coldstart_cli.training import OptimizerFactory


class FineTune(Strategy):
    """Trains encoder and head on all source examples, then takes gradient steps on the new task.

    The new task's head starts at zero; where its outputs are outputs of the source (domain shift,
    regression), at the source head's rows.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        source_training: learn from the source at all; without, the encoder stays at its random
            initial weights, which all tasks share.
        batch_size: source examples in one outer step.
        trainable: what adaptation changes: all weights, or the head on frozen features.
        lr: learning rate of adaptation, on the whole support set at each step.
        rule: update rule of adaptation.
        momentum: of `sgd`.
    """

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        source_training: bool,
        batch_size: Annotated[int, Ge(1)],
        trainable: Literal["all", "head"],
        lr: Annotated[float, Gt(0)],
        rule: Literal["sgd", "adam"],
        momentum: Annotated[float, Ge(0), Le(1)],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.seed, self.source_training, self.batch_size = seed, source_training, batch_size
        self.learns_from_source, self.needs_labels = source_training, not source_training
        self.trainable, self.lr, self.rule, self.momentum = trainable, lr, rule, momentum
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        if not self.source_training:
            return iter(())
        return fit_classifier(
            self.network, source, self.optimizer, batch_size=self.batch_size, seed=self.seed, start=start
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; once, the source model as it is, where there are no labels."""
        network = Network(
            self.network.encoder, head_for(support, self.network.head, keep=self.source_training)
        )
        weights = {name: w.detach() for name, w in network.named_parameters()}
        frozen = {} if self.trainable == "all" else {n: w for n, w in weights.items() if n[:5] != "head."}
        moving = {n: w.requires_grad_() for n, w in weights.items() if n not in frozen}
        features = None
        if frozen and len(support):
            with torch.no_grad():  # features of a frozen encoder are computed once
                features = network.features(weights, support.inputs)

        def loss(moving: Weights) -> Tensor:
            if features is not None:
                outputs = network.from_features(moving, features)
            else:
                outputs = network.outputs(moving, support.inputs)
            return support.objective.loss(outputs, support.targets)

        rule = rule_named(self.rule, self.lr, self.momentum)
        steps = descend(loss, moving, rule, second_order=False)
        for adapted in steps if len(support) else islice(steps, 1):
            changed = {name: w.detach() for name, w in adapted.items()}
            yield Adapted(partial(Predictor, network, changed), changed)
