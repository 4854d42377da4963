"""A plug-in as somebody else would write it: a strategy that breaks a law, and an encoder with dropout."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource
from coldstart_cli.models.network import Encoder, scaled
from coldstart_cli.strategies.building_blocks.discrepancy import squared_distances
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic

Broken = Literal["none", "changes_self", "reads_batch", "reads_order", "forgets", "rests", "notes"]


class Nearest(Strategy):
    """Classifies by the nearest class mean.

    Args:
        encoder, optimizer, vectorize: from the run.
        meta_batch_size: tasks in one outer step.
        broken: the law that it breaks.
    """

    needs_classes = True
    calls: Tensor

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        vectorize: bool,
        *,
        meta_batch_size: Annotated[int, Ge(1)],
        broken: Broken,
    ) -> None:
        super().__init__()
        self.encoder, self.vectorize, self.meta_batch_size = encoder, vectorize, meta_batch_size
        self.broken, self.generator = broken, torch.Generator().manual_seed(0)
        self.register_buffer("calls", torch.zeros(()))
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
        if self.broken == "changes_self":
            self.calls += 1
        with torch.no_grad():
            means = self._means(self.encoder(support.inputs), support.targets, support.objective.n_outputs)
        notes = {"distance": 1.0} if self.broken == "notes" else {}
        build = partial(Predictor, self.encoder, means, centred=self.broken == "reads_batch")
        yield Adapted(build, {"means": means}, notes)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        def loss(weights: Mapping[str, Tensor], s: Tensor, t: Tensor, q: Tensor, u: Tensor) -> Tensor:
            means = self._means(functional_call(self.encoder, dict(weights), (s,)), t, objective.n_outputs)
            features = functional_call(self.encoder, dict(weights), (q,))
            if self.broken == "forgets":  # how far its generator is, no checkpoint knows
                features = features + 0.1 * torch.randn((), generator=self.generator)
            value = objective.loss(-squared_distances(features, means), u)
            return value.detach() + 0 * value if self.broken == "rests" else value

        return {
            "loss": each(loss)(weights, support.inputs, support.targets, query.inputs, query.targets),
        }

    def _means(self, features: Tensor, targets: Tensor, n_way: int) -> Tensor:
        members = one_hot(targets, n_way).to(features.dtype)  # torch's own reads values: no recording
        if self.broken == "reads_order":
            members = members * torch.arange(1, 1 + len(members)).to(members)[:, None]
        return (members.T @ features) / members.sum(0)[:, None]


class Predictor(nn.Module):
    means: Tensor

    def __init__(self, encoder: Encoder, means: Tensor, *, centred: bool) -> None:
        super().__init__()
        self.encoder, self.centred = encoder, centred
        self.register_buffer("means", means)

    def forward(self, inputs: Inputs) -> Tensor:
        features = self.encoder(inputs)
        features = features - features.mean(0) if self.centred else features
        return -squared_distances(features, self.means)


class RandomEncoder(Encoder):
    """A layer with dropout.

    Args:
        input_shape: of one input.
        hidden: units.
        share: of the units that are dropped in training.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        hidden: Annotated[int, Ge(1)],
        share: Annotated[float, Ge(0), Lt(1)],
    ) -> None:
        super().__init__()
        self.layer = nn.Linear(torch.Size(input_shape).numel(), hidden)
        self.dropout = nn.Dropout(share)
        self.feature_dim = hidden

    def forward(self, inputs: Inputs) -> Tensor:
        assert isinstance(inputs, Tensor)
        numbers = scaled(inputs, self.layer.weight.dtype).flatten(1)
        features: Tensor = self.dropout(self.layer(numbers).relu())
        return features
