"""A task encoder: the support set becomes a vector, from which a decoder conditions the predictor.

- Regression: the conditional neural process (Garnelo et al. 2018, arXiv:1807.01613, equations 1 to 3).
- Classification: a classifier whose weights are made class by class, from the class's own examples, as
  in VERSA (Gordon, Bronskill, Bauer, Nowozin and Turner 2019, arXiv:1805.09921, section 3) and CNAPs
  (Requeima et al. 2019, arXiv:1906.07697, section 2.1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, final

import torch
from annotated_types import Ge, Len
from torch import Tensor, nn

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
from coldstart_cli.models.mlp import perceptron, zeroed
from coldstart_cli.models.modulation import beside, prototype_head
from coldstart_cli.models.network import Encoder, Network, Predictor, blank_head
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class TaskEncoder(Strategy):
    """Learns to read a task off its support set: adaptation is one forward pass.

    Args:
        encoder, optimizer, n_outputs, n_way, vectorize: from the run; where n_way is None, tasks are
            regressions.
        task_dim: width of the task vector, the mean over the support set.
        n_task_features: width of the decoder's output.
        hidden: units of the hidden layers of task encoder, decoder and predictor.
        meta_batch_size: tasks in one outer step.
    """

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_outputs: int,
        n_way: int | None,
        vectorize: bool,
        *,
        task_dim: Annotated[int, Ge(1)],
        n_task_features: Annotated[int, Ge(1)],
        hidden: Annotated[list[Annotated[int, Ge(1)]], Len(1)],
        meta_batch_size: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.n_way, self.vectorize, self.meta_batch_size = n_way, vectorize, meta_batch_size
        self.task_dim, self.n_task_features, self.hidden = task_dim, n_task_features, hidden
        self.network: ConditionedNetwork
        if n_way is None:
            self.network = NeuralProcess(encoder, n_outputs, task_dim, n_task_features, hidden)
        else:
            self.network = GeneratedClassifier(encoder, task_dim, n_task_features, hidden)
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self._task_loss,
            dict(self.network.named_parameters()),
            source,
            self.optimizer,
            meta_batch_size=self.meta_batch_size,
            vectorize=self.vectorize,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            adapted = self.network.adapted(support)
        yield adapted

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """The network is called directly, not with `weights`, which are its own: no task changes any of them.

        Under vmap a layer then remains one matrix product for all tasks, forward and backward.
        """

        def scores_of(
            support: Inputs, support_targets: Tensor, query: Inputs, query_targets: Tensor
        ) -> dict[str, Tensor]:
            outputs = self.network(support, support_targets, query, objective.n_outputs)
            return scores(objective, outputs, query_targets)

        found: dict[str, Tensor] = each(scores_of)(
            support.inputs, support.targets, query.inputs, query.targets
        )
        return found


class ConditionedNetwork(nn.Module, ABC):
    """(support set, query inputs) -> outputs of the query set."""

    @abstractmethod
    def forward(self, support: Inputs, targets: Tensor, query: Inputs, n_outputs: int) -> Tensor:
        """(n_query, n_outputs). One pass of the encoder for both sets, as in ProtoNet."""

    @abstractmethod
    def adapted(self, support: Support) -> Adapted:
        """The predictor that the support set makes."""


@final
class NeuralProcess(ConditionedNetwork):
    """Regression: f(x) = g([phi(x), D(r)]) with the task vector r = mean over the support of h([phi(x), y]).

    A departure from the paper: it predicts only a mean, without a variance; its loss is the squared error.

    Args:
        encoder: phi; h is `set_encoder`, D `decoder` and g `predictor`.
    """

    def __init__(
        self, encoder: Encoder, n_outputs: int, task_dim: int, n_task_features: int, hidden: list[int]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.set_encoder = perceptron([encoder.feature_dim + n_outputs, *hidden, task_dim])
        self.decoder = perceptron([task_dim, *hidden, n_task_features])
        self.predictor = perceptron([encoder.feature_dim + n_task_features, *hidden, n_outputs])

    def forward(self, support: Inputs, targets: Tensor, query: Inputs, n_outputs: int) -> Tensor:
        features, n = self.encoder(joined(support, query)), n_examples(support)
        outputs: Tensor = self.predictor(beside(features[n:], self.task_features(features[:n], targets)))
        return outputs

    def task_features(self, features: Tensor, targets: Tensor) -> Tensor:
        """D(r): (n, feature_dim), (n, n_outputs) -> (n_task_features,)."""
        pairs = torch.cat([features, targets.to(features.dtype)], dim=1)
        task: Tensor = self.decoder(self.set_encoder(pairs).mean(0))
        return task

    def adapted(self, support: Support) -> Adapted:
        task = self.task_features(self.encoder(support.inputs), support.targets)
        return Adapted(partial(ConditionedPredictor, self.encoder, self.predictor, task), {"task": task})


@final
class ConditionedPredictor(nn.Module):
    """predictor([encoder(x), task]) for one task (n_task_features,)."""

    task: Tensor

    def __init__(self, encoder: nn.Module, predictor: nn.Module, task: Tensor) -> None:
        super().__init__()
        self.encoder, self.predictor = encoder, predictor
        self.register_buffer("task", task)

    def forward(self, inputs: Inputs) -> Tensor:
        outputs: Tensor = self.predictor(beside(self.encoder(inputs), self.task))
        return outputs


@final
class GeneratedClassifier(ConditionedNetwork):
    """Classification: the head's row of class c is 2 m_c + dw_c, its bias -|m_c|^2 + db_c.

    m_c is the mean of phi(x) over the class's support examples, and (dw_c, db_c) = g([m_c, D(r)]) with the
    task vector r = mean over the support of h(phi(x)), which does not depend on the order of classes.

    Departures from the papers: g makes a residual to the classifier by prototypes and starts at zero,
    so that training begins as ProtoNet; VERSA samples the weights and has no task vector.
    """

    def __init__(self, encoder: Encoder, task_dim: int, n_task_features: int, hidden: list[int]) -> None:
        super().__init__()
        width = encoder.feature_dim
        self.encoder = encoder
        self.set_encoder = perceptron([width, *hidden, task_dim])
        self.decoder = perceptron([task_dim, *hidden, n_task_features])
        self.generator = zeroed(perceptron([width + n_task_features, *hidden, width + 1]))

    def forward(self, support: Inputs, targets: Tensor, query: Inputs, n_outputs: int) -> Tensor:
        features, n = self.encoder(joined(support, query)), n_examples(support)
        weight, bias = self.head(features[:n], targets, n_outputs)
        return nn.functional.linear(features[n:], weight, bias)

    def head(self, features: Tensor, targets: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
        """Weight (n_way, feature_dim) and bias (n_way,) for features (n, feature_dim), targets (n,)."""
        means = prototypes(features, targets, n_way)
        task = self.decoder(self.set_encoder(features).mean(0))
        # Row c of the result is for class c: feature_dim numbers for its weight, and the last for its bias.
        residual = self.generator(beside(means, task))
        weight, bias = prototype_head(means)
        return weight + residual[:, :-1], bias + residual[:, -1]

    def adapted(self, support: Support) -> Adapted:
        features, n_way = self.encoder(support.inputs), support.objective.n_outputs
        weight, bias = self.head(features, support.targets, n_way)
        network = Network(self.encoder, blank_head(features.shape[1], n_way))
        changed = {"head.weight": weight, "head.bias": bias}
        return Adapted(partial(Predictor, network, changed), changed)
