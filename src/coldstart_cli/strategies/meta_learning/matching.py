"""Matching networks: a label is the mean of the support set's, weighted by attention.

Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra 2016, arXiv:1606.04080, equation 1 with the attention
of section 2.1.1: p(k | x) = sum_i a(x, x_i) [y_i = k], a = softmax_i cos(f(x), g(x_i)).

Departure: without full context embeddings (section 2.1.2); f = g is the encoder, which reads each input by
itself.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.tasks import Adapted, Examples, Inputs, Strategy, Support, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.embedding import fit_embedding, full_precision
from coldstart_cli.training.optimizers import OptimizerFactory


class MatchingNetwork(Strategy):
    """Learns an encoder in which examples of a class point in one direction.

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
        return fit_embedding(self, logits_by_attention, source, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            features = full_precision(self.encoder(support.inputs))
            labels = one_hot(support.targets, support.objective.n_outputs).to(features.dtype)
        changed = {"features": features, "labels": labels}
        yield Adapted(partial(Attention, self.encoder, features, labels), changed)


class Attention(nn.Module):
    """Logits are logarithms of probabilities, from support features (n, feature_dim), labels (n, n_way)."""

    features: Tensor
    labels: Tensor

    def __init__(self, encoder: nn.Module, features: Tensor, labels: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("features", features)
        self.register_buffer("labels", labels)

    def forward(self, inputs: Inputs) -> Tensor:
        return log_attended(self.encoder(inputs), self.features, self.labels)


def logits_by_attention(
    weights: Mapping[str, Tensor], support: Examples, query: Tensor, n_outputs: int
) -> Tensor:
    """An `embedding.Compare` without weights of its own."""
    assert isinstance(support.inputs, Tensor)
    return log_attended(query, support.inputs, one_hot(support.targets, n_outputs))


def log_attended(query: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """log(a labels), (m, d), (n, d), one-hot (n, n_way) -> (m, n_way), in full precision under autocast.

    The logarithm is safe: cosines lie in [-1, 1], so no weight of n is below exp(-2) / n. A class without
    examples has the smallest positive number for its probability.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, features = full_precision(query), full_precision(features)
        # The paper's softmax has no temperature, so weights differ by a factor of e^2 at most.
        cosines = F.normalize(query, dim=-1) @ F.normalize(features, dim=-1).T
        attended = cosines.softmax(-1) @ labels.to(query.dtype)
        return attended.clamp(min=torch.finfo(attended.dtype).tiny).log()
