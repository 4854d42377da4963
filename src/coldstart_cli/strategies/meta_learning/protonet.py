"""Prototypical networks: classify by the nearest class mean in a learned space.

Snell, Swersky and Zemel 2017, arXiv:1703.05175, equations 1 and 2, with the squared Euclidean distance. A
learned temperature, which distances are divided by: Oreshkin, Rodriguez and Lacoste 2018, arXiv:1805.10123,
equation 1, with alpha = 1 / temperature.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Support, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.discrepancy import squared_distances
from coldstart_cli.strategies.building_blocks.embedding import fit_embedding
from coldstart_cli.strategies.building_blocks.names import Named, ablations_of_names, known
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.building_blocks.standardising import encoder_for, source_statistics
from coldstart_cli.strategies.building_blocks.temperature import (
    Tempered,
    keep_temperature,
    log_temperature,
    temperature_in,
)
from coldstart_cli.training.optimizers import OptimizerFactory


class Shared(Tempered, Named):
    """What other strategies have as well."""


class ProtoNet(Strategy):
    """Learns an encoder in which a class is where its support examples' mean is.

    Args:
        encoder, optimizer, vectorize: from the run.
        standardise: standardise features by the task's own examples, labelled and unlabelled; the source's
            statistics count as much as this number of them. None: features as they are.
        meta_batch_size: tasks in one outer step.
        shared: see `Tempered`, the paper's has a temperature of 1; and `Named`, the paper's reads no names.
    """

    needs_classes = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        vectorize: bool,
        *,
        standardise: Annotated[float, Gt(0)] | None,
        meta_batch_size: Annotated[int, Ge(1)],
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__()
        self.encoder, self.vectorize, self.meta_batch_size = encoder, vectorize, meta_batch_size
        self.shared, self.log_temperature = shared, log_temperature(shared)
        self.reads_names = shared["name_weight"] > 0
        self.standardise = standardise
        self.standard = source_statistics(standardise, encoder.feature_dim)
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        compare = partial(logits_by_prototypes, temperature=self.shared["temperature"])
        return fit_embedding(self, compare, source, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            weights = dict(self.named_parameters())
            encoder, statistics = encoder_for(self.encoder, weights, self.standardise, support)
            own = known(encoder, support, self.shared)
            means = prototypes(own.features, own.targets, support.objective.n_outputs, own.weights)
            temperature = temperature_in(weights, self.shared["temperature"])
        made = partial(NearestPrototype, encoder, means, temperature)
        yield Adapted(made, {"prototypes": means, **statistics})

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        return ablations_of_names(self.adapt, support, self.shared)


class NearestPrototype(nn.Module):
    """Logits are negative squared distances to prototypes (n_way, feature_dim), over a temperature."""

    prototypes: Tensor
    temperature: Tensor | float

    def __init__(self, encoder: nn.Module, prototypes: Tensor, temperature: Tensor | float) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("prototypes", prototypes)
        keep_temperature(self, temperature)

    def forward(self, inputs: Inputs) -> Tensor:
        return -squared_distances(self.encoder(inputs), self.prototypes) / self.temperature


def logits_by_prototypes(
    weights: Mapping[str, Tensor], support: Examples, query: Tensor, n_outputs: int, *, temperature: float
) -> Tensor:
    """An `embedding.Compare`: -|x - c_k|^2 / T for each class k; T may be a weight, `log_temperature`."""
    assert isinstance(support.inputs, Tensor)
    distances = squared_distances(query, prototypes(support.inputs, support.targets, n_outputs))
    return -distances / temperature_in(weights, temperature)
