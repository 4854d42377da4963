"""Proto-MAML: MAML whose head starts, in every task, as the classifier by prototypes.

Triantafillou et al. 2020, arXiv:1903.03096, section 3. With c_k the mean feature of class k, the head's
initial weights are w_k = 2 c_k and b_k = -|c_k|^2, since -|x - c_k|^2 = 2 c_k x - |c_k|^2 - |x|^2, where the
last term is the same for all classes. Inner steps then change all weights.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Unpack

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, below, blank_head
from coldstart_cli.models.norm import refuse_running_statistics
from coldstart_cli.strategies.building_blocks.embedding import full_precision
from coldstart_cli.strategies.building_blocks.inner_steps import DifferentiableSteps, scores_after
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.training.inner_loop import Weights, descend, sgd
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class ProtoMAML(Strategy):
    """Learns an encoder; heads are made of the support set, so that a task may have any number of ways.

    An inner step takes head and encoder as variables of their own; the outer gradient flows through the
    prototypes too, in first order as well.

    Args:
        encoder, optimizer, vectorize: from the run.
        inner: see `DifferentiableSteps`; encoder and head share the rate.
    """

    needs_classes = True
    starts_from_support = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        vectorize: bool,
        **inner: Unpack[DifferentiableSteps],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        self.encoder, self.vectorize = encoder, vectorize
        self.inner, self.differentiates_twice = inner, inner["second_order"]
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self._task_loss,
            dict(self.named_parameters()),
            source,
            self.optimizer,
            meta_batch_size=self.inner["meta_batch_size"],
            vectorize=self.vectorize,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields the classifier by prototypes, then after each step on all weights."""
        n_way = support.objective.n_outputs
        with torch.no_grad():
            weights = self._with_head(n_way, dict(self.named_parameters()), support.inputs, support.targets)
        weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
        head = blank_head(self.encoder.feature_dim, n_way).to(weights["head.weight"])
        network = Network(self.encoder, head)

        def loss(weights: Weights) -> Tensor:
            return support.objective.loss(self._outputs(weights, support.inputs), support.targets)

        for adapted in descend(loss, weights, sgd(self.inner["inner_lr"], momentum=0.0), second_order=False):
            changed = {name: w.detach() for name, w in adapted.items()}
            yield Adapted(partial(Predictor, network, changed), changed)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """The loss on the query set after the inner steps, from the prototypes' head on."""
        start = each(partial(self._with_head, objective.n_outputs))(weights, support.inputs, support.targets)
        # Views: the head depends on the encoder's weights, but not on the variables of the first step.
        moving = {name: w.view_as(w) for name, w in start.items()}
        return scores_after(
            each,
            self._outputs,
            objective,
            {},
            moving,
            support,
            query,
            rule=sgd(self.inner["inner_lr"], momentum=0.0),
            inner_steps=self.inner["inner_steps"],
            second_order=self.inner["second_order"],
        )

    def _with_head(
        self, n_way: int, weights: Mapping[str, Tensor], inputs: Inputs, targets: Tensor
    ) -> Weights:
        """The weights, `encoder.*`, and those of the head that the support set starts with, `head.*`."""
        features = functional_call(self.encoder, below("encoder.", weights), (inputs,))
        with torch.autocast(features.device.type, enabled=False):
            # |c|^2 enters the bias: bf16 would round it more coarsely than logits of near classes differ.
            means = prototypes(full_precision(features), targets, n_way)
        return {**weights, "head.weight": 2 * means, "head.bias": -means.square().sum(-1)}

    def _outputs(self, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        features = functional_call(self.encoder, below("encoder.", weights), (inputs,))
        return F.linear(features, weights["head.weight"], weights["head.bias"])
