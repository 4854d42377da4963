"""A task encoder: the support set becomes a vector, from which a decoder conditions the predictor.

- Regression: the conditional neural process (Garnelo et al. 2018, arXiv:1807.01613, equations 1 to 3).
- Classification: statistics of the labelled set become a task vector, whose features scale those of the
encoder,
  as CNAPs adapts a network to a task (Requeima et al. 2019, arXiv:1906.07697, section 2.2); the head has the
  task's own covariance, as in Simple CNAPs (Bateni et al. 2020, arXiv:1912.03432, section 4).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, final

import torch
from annotated_types import Ge, Len
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource, joined, n_examples
from coldstart_cli.models.mlp import perceptron, zeroed
from coldstart_cli.models.modulation import beside
from coldstart_cli.models.network import Encoder, Network, Predictor, blank_head
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.strategies.building_blocks.set_statistics import (
    SHARPNESS,
    SetStatistics,
    by_hand,
    covariance_head,
    logs,
    prepared,
    scaled,
    set_statistics,
    with_unlabelled,
)
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class TaskEncoder(Strategy):
    """Learns to read a task off its support set: adaptation is one forward pass.

    Args:
        encoder, optimizer, n_outputs, n_way, vectorize: from the run; where n_way is None, tasks are
            regressions.
        task_dim: width of the task vector.
        n_task_features: regression: width of the decoder's output; classes: units of the gate's layers.
        hidden: units of the hidden layers of task encoder, decoder and predictor.
        fewest_shots: a training task of classes has this number to k_shot labels of each, drawn for it; None:
            all have k_shot.
        gate_penalty: classes: what is added to the loss for each unit of the mean square of the gate's
            logarithms, which are 0 where nothing is gated: a gate must earn what it does.
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
        fewest_shots: Annotated[int, Ge(1)] | None,
        gate_penalty: Annotated[float, Ge(0)],
        meta_batch_size: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.fewest_shots, self.gate_penalty = fewest_shots, gate_penalty
        self.n_way, self.vectorize, self.meta_batch_size = n_way, vectorize, meta_batch_size
        self.task_dim, self.n_task_features, self.hidden = task_dim, n_task_features, hidden
        self.network: ConditionedNetwork
        if n_way is None:
            self.network = NeuralProcess(encoder, n_outputs, task_dim, n_task_features, hidden)
        else:
            self.network = ConditionedClassifier(encoder, task_dim, n_task_features, hidden)
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
            prepare=partial(prepared, fewest_shots=self.fewest_shots),
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            adapted = self.network.adapted(support)
        yield adapted

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        """`swap`, `off` (no task features) and, of classes, each half alone and a rule `by hand`."""
        with torch.no_grad():
            found = self.network.ablations(support, other)
        return {name: iter([adapted]) for name, adapted in found.items()}

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
            outputs, gated = self.network(support, support_targets, query, objective.n_outputs)
            found = scores(objective, outputs, query_targets)
            if self.gate_penalty == 0 or self.n_way is None:
                return found
            return {**found, "loss": found["loss"] + self.gate_penalty * gated, "gate": gated.detach()}

        found: dict[str, Tensor] = each(scores_of)(
            support.inputs, support.targets, query.inputs, query.targets
        )
        return found


class ConditionedNetwork(nn.Module, ABC):
    """(support set, query inputs) -> outputs of the query set."""

    @abstractmethod
    def forward(
        self, support: Inputs, targets: Tensor, query: Inputs, n_outputs: int
    ) -> tuple[Tensor, Tensor]:
        """Outputs (n_query, n_outputs), and the mean square of the gate's logarithms, 0 without a gate.

        One pass of the encoder for both sets, as in ProtoNet.
        """

    @abstractmethod
    def adapted(self, support: Support) -> Adapted:
        """The predictor that the support set makes."""

    @abstractmethod
    def ablations(self, support: Support, other: Support) -> dict[str, Adapted]:
        """As `Strategy.ablations`, of one predictor each."""


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

    def forward(
        self, support: Inputs, targets: Tensor, query: Inputs, n_outputs: int
    ) -> tuple[Tensor, Tensor]:
        features, n = self.encoder(joined(support, query)), n_examples(support)
        outputs: Tensor = self.predictor(beside(features[n:], self.task_features(features[:n], targets)))
        return outputs, outputs.new_zeros(())

    def task_features(self, features: Tensor, targets: Tensor) -> Tensor:
        """D(r): (n, feature_dim), (n, n_outputs) -> (n_task_features,)."""
        pairs = torch.cat([features, targets.to(features.dtype)], dim=1)
        task: Tensor = self.decoder(self.set_encoder(pairs).mean(0))
        return task

    def adapted(self, support: Support) -> Adapted:
        return self._told(self.task_features(self.encoder(support.inputs), support.targets))

    def ablations(self, support: Support, other: Support) -> dict[str, Adapted]:
        theirs = self.task_features(self.encoder(other.inputs), other.targets)
        return {"swap": self._told(theirs), "off": self._told(torch.zeros_like(theirs))}

    def _told(self, task: Tensor) -> Adapted:
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
class ConditionedClassifier(ConditionedNetwork):
    """Classification: task features scale the encoder's features and shape the head's covariance.

    The task vector r = h(log W, log B) of the variances of each feature within and between the task's
    classes; the decoder's task features D(r) and a network g that all features share make a gate,
    exp(g(v_j, D(r)_j)) for feature j with its own statistics v_j (`set_statistics.logs`). Gated features
    are told apart by linear discriminant analysis with the task's own covariance (`covariance_head`).

    Departures from CNAPs: the set is read by variances with its labels rather than by a mean of embeddings
    without them, which cannot tell by which rule a set is labelled; scales multiply the encoder's features
    alone; and one covariance is pooled over classes. Gate and decoder start at zero: training begins with
    plain features.
    """

    def __init__(self, encoder: Encoder, task_dim: int, n_task_features: int, hidden: list[int]) -> None:
        super().__init__()
        width = encoder.feature_dim
        self.encoder = encoder
        self.set_encoder = perceptron([2 * width, *hidden, task_dim])
        self.decoder = zeroed(perceptron([task_dim, *hidden, width]))
        self.gate = zeroed(perceptron([5, n_task_features, n_task_features, 1]))
        self.log_ridge = nn.Parameter(torch.zeros(()))
        self.log_scale = nn.Parameter(torch.tensor(math.log(SHARPNESS / width)))

    def forward(
        self, support: Inputs, targets: Tensor, query: Inputs, n_outputs: int
    ) -> tuple[Tensor, Tensor]:
        features, n = self.encoder(joined(support, query)), n_examples(support)
        found = set_statistics(features[:n], targets, n_outputs)
        scales = self.scales(found)
        weight, bias = self.head(found, found, scales)
        return nn.functional.linear(features[n:], weight, bias), scales.log().square().mean()

    def scales(self, found: SetStatistics) -> Tensor:
        """(feature_dim,): the gate of each feature."""
        own = logs(found)
        task = self.set_encoder(own[:2].flatten())
        gates: Tensor = self.gate(own.T).squeeze(1) + self.decoder(task)
        return gates.clamp(-MOST, MOST).exp()

    def head(self, own: SetStatistics, told: SetStatistics | None, scales: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (n_way, feature_dim) and bias (n_way,) by the class means of `own`.

        Args:
            told: whose covariance it is; None: none, which leaves the nearest class mean.
            scales: (feature_dim,) of the features.
        """
        of = replace(own, centred=torch.zeros_like(own.centred)) if told is None else told
        weight, bias = covariance_head(own.means * scales, scaled(of, scales), self.log_ridge.exp())
        # What multiplies a feature may as well multiply its weight.
        return self.log_scale.exp() * weight * scales, self.log_scale.exp() * bias

    def adapted(self, support: Support) -> Adapted:
        found = self._read(support)
        return self._with_head(*self.head(found, found, self.scales(found)))

    def ablations(self, support: Support, other: Support) -> dict[str, Adapted]:
        own, theirs = self._read(support), self._read(other)
        plain = torch.ones_like(own.total)
        return {
            "swap": self._with_head(*self.head(own, theirs, self.scales(theirs))),
            "off": self._with_head(*self.head(own, None, plain)),
            "covariance alone": self._with_head(*self.head(own, own, plain)),
            "gate alone": self._with_head(*self.head(own, None, self.scales(own))),
            "by hand": self._with_head(*self.head(own, None, by_hand(own))),
        }

    def _read(self, support: Support) -> SetStatistics:
        every = with_unlabelled(support)
        return set_statistics(self.encoder(every.inputs), every.targets, support.objective.n_outputs)

    def _with_head(self, weight: Tensor, bias: Tensor) -> Adapted:
        network = Network(self.encoder, blank_head(weight.shape[1], len(bias)))
        changed = {"head.weight": weight, "head.bias": bias}
        return Adapted(partial(Predictor, network, changed), changed)


MOST = 6.0
"""The largest logarithm of a gate, either way."""
