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

from coldstart_cli.core.tasks import Adapted, Examples, Inputs, Strategy, Support, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.discrepancy import squared_distances
from coldstart_cli.strategies.building_blocks.embedding import fit_embedding
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.training.optimizers import OptimizerFactory


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
        return fit_embedding(self, logits_by_prototypes, source, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            means = prototypes(self.encoder(support.inputs), support.targets, support.objective.n_outputs)
        yield Adapted(partial(NearestPrototype, self.encoder, means), {"prototypes": means})


class NearestPrototype(nn.Module):
    """Logits are negative squared distances to prototypes (n_way, feature_dim)."""

    prototypes: Tensor

    def __init__(self, encoder: nn.Module, prototypes: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("prototypes", prototypes)

    def forward(self, inputs: Inputs) -> Tensor:
        return -squared_distances(self.encoder(inputs), self.prototypes)


def logits_by_prototypes(
    weights: Mapping[str, Tensor], support: Examples, query: Tensor, n_outputs: int
) -> Tensor:
    """An `embedding.Compare` without weights of its own: -|x - c_k|^2 for each class k."""
    assert isinstance(support.inputs, Tensor)
    return -squared_distances(query, prototypes(support.inputs, support.targets, n_outputs))
