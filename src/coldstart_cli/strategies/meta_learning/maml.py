"""Model-agnostic meta-learning: weights from which a few gradient steps solve a new task.

- MAML and its first-order form: Finn, Abbeel and Levine 2017, arXiv:1703.03400, algorithm 1.
- ANIL (`adapted: head`): Raghu, Raghu, Bengio and Vinyals 2020, arXiv:1909.09157.
- BOIL (`adapted: body`): Oh, Yoo, Kim and Yun 2021, arXiv:2008.08882.
- Meta-SGD (`learned_rates: true`): Li, Zhou, Chen and Li 2017, arXiv:1707.09835, equation 2: a learned
  rate for every single weight, which may become negative.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.models.norm import refuse_running_statistics
from coldstart_cli.strategies.building_blocks.inner_steps import (
    DifferentiableSteps,
    parameter_key,
    scores_after,
    warn_of_standstill,
)
from coldstart_cli.strategies.building_blocks.scores import other_width
from coldstart_cli.training.inner_loop import Rule, Weights, descend, sgd
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class MAML(Strategy):
    """Learns the initial weights of a network with a head of fixed width.

    Args:
        encoder, optimizer, n_outputs, vectorize: from the run.
        adapted: which weights the inner steps change: all, the head (ANIL) or the body (BOIL).
        learned_rates: learn a rate for each weight (Meta-SGD); all start at `inner_lr`.
        inner: see `DifferentiableSteps`.
    """

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_outputs: int,
        vectorize: bool,
        *,
        adapted: Literal["all", "head", "body"],
        learned_rates: bool,
        **inner: Unpack[DifferentiableSteps],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_outputs))
        self.n_outputs, self.vectorize = n_outputs, vectorize
        self.inner, self.differentiates_twice = inner, inner["second_order"]
        self.adapted, self.learned_rates = adapted, learned_rates
        names = [name for name, _ in self.network.named_parameters() if self._adapts(name)]
        if not names:
            raise ValueError(f"adapted: {adapted} has no weights in this model; choose adapted=head")
        self.rates = nn.ParameterDict()
        if learned_rates:
            weights = dict(self.network.named_parameters())
            self.rates.update(
                {parameter_key(n): torch.full_like(weights[n], inner["inner_lr"]) for n in names}
            )
        # Learned rates are parameters too, and move in the outer step.
        self.optimizer = optimizer(self.parameters())

    def refusal(self, tasks: TaskSource) -> str | None:
        return other_width(self.n_outputs, tasks) or super().refusal(tasks)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        if start == 0:
            warn_of_standstill(self, self.network.encoder, source, self.inner)
        return episodic(
            self._task_loss,
            dict(self.network.named_parameters()),
            source,
            self.optimizer,
            meta_batch_size=self.inner["meta_batch_size"],
            vectorize=self.vectorize,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        weights = {name: w.detach() for name, w in self.network.named_parameters()}
        inputs = support.inputs
        if self.adapted == "head":  # features, computed once (ANIL)
            inputs = self.network.features(weights, inputs)

        def loss(adapted: Weights) -> Tensor:
            outputs = self._outputs({**weights, **adapted}, inputs)
            return support.objective.loss(outputs, support.targets)

        steps = descend(
            loss,
            self._inner(weights, grad=True),
            self._rule(learning=False),
            second_order=False,
        )
        for adapted in steps:
            changed = {name: w.detach() for name, w in adapted.items()}
            yield Adapted(partial(Predictor, self.network, changed), changed)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """The loss on the query set of weights adapted to the support set: a term of equation 1."""
        if self.adapted == "head":
            # The body takes no inner step, so both sets are encoded once, with a graph for the outer
            # gradient.
            encode = each(self.network.features)
            support = replace(support, inputs=encode(weights, support.inputs))
            query = replace(query, inputs=encode(weights, query.inputs))
        return scores_after(
            each,
            self._outputs,
            objective,
            weights,
            self._inner(weights, grad=False),
            support,
            query,
            rule=self._rule(learning=True),
            inner_steps=self.inner["inner_steps"],
            second_order=self.inner["second_order"],
        )

    def _outputs(self, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        if self.adapted == "head":
            return self.network.from_features(weights, inputs)
        return self.network.outputs(weights, inputs)

    def _adapts(self, name: str) -> bool:
        in_head = name.startswith("head.")
        return self.adapted == "all" or (self.adapted == "head") == in_head

    def _inner(self, weights: Mapping[str, Tensor], grad: bool) -> Weights:
        chosen = {name: w for name, w in weights.items() if self._adapts(name)}
        # In training weights keep their graph, through which the outer gradient flows; in adaptation they
        # are leaves.
        return {n: w.detach().requires_grad_() for n, w in chosen.items()} if grad else chosen

    def _rule(self, learning: bool) -> Rule:
        if not self.learned_rates:
            return sgd(self.inner["inner_lr"], momentum=0.0)
        names = [name for name, _ in self.network.named_parameters() if self._adapts(name)]
        rates = {name: self.rates[parameter_key(name)] for name in names}
        # In adaptation rates are constants, so that no graph is kept.
        return sgd(rates if learning else {n: r.detach() for n, r in rates.items()}, momentum=0.0)
