"""Matching networks: a label is the mean of the support set's, weighted by attention.

Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra 2016, arXiv:1606.04080, equation 1 with the attention
of section 2.1.1: p(k | x) = sum_i a(x, x_i) [y_i = k], a = softmax_i (cos(f(x), g(x_i)) / temperature).

Departures: without full context embeddings (section 2.1.2); f = g is the encoder, which reads each input by
itself. The paper names no temperature; with one of 1 no probability of 5 classes at 1 shot exceeds .65, and
what the loss asks for cannot be reached. Chen, Liu, Kira, Wang and Huang 2019, arXiv:1904.04232, multiply
cosines by 100 in their code.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Support, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.embedding import fit_embedding, full_precision
from coldstart_cli.strategies.building_blocks.standardising import encoder_for, source_statistics
from coldstart_cli.strategies.building_blocks.temperature import (
    Tempered,
    keep_temperature,
    log_temperature,
    temperature_in,
)
from coldstart_cli.training.optimizers import OptimizerFactory

_NOTHING = -1e4  # of which the exponential is 0 in every precision, and which bf16 and fp16 can hold


class MatchingNetwork(Strategy):
    """Learns an encoder in which examples of a class point in one direction.

    Args:
        encoder, optimizer, vectorize: from the run.
        standardise: standardise features by the task's own examples, labelled and unlabelled; the source's
            statistics count as much as this number of them. None: features as they are.
        meta_batch_size: tasks in one outer step.
        tempered: see `Tempered`.
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
        **tempered: Unpack[Tempered],
    ) -> None:
        super().__init__()
        self.encoder, self.vectorize, self.meta_batch_size = encoder, vectorize, meta_batch_size
        self.tempered, self.log_temperature = tempered, log_temperature(tempered)
        self.standardise = standardise
        self.standard = source_statistics(standardise, encoder.feature_dim)
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        compare = partial(logits_by_attention, temperature=self.tempered["temperature"])
        return fit_embedding(self, compare, source, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            weights = dict(self.named_parameters())
            encoder, own = encoder_for(self.encoder, weights, self.standardise, support)
            features = full_precision(encoder(support.inputs))
            labels = one_hot(support.targets, support.objective.n_outputs).to(features.dtype)
            temperature = temperature_in(weights, self.tempered["temperature"])
        changed = {"features": features, "labels": labels, **own}
        yield Adapted(partial(Attention, encoder, features, labels, temperature), changed)


class Attention(nn.Module):
    """Logits are logarithms of probabilities, from support features (n, feature_dim), labels (n, n_way)."""

    features: Tensor
    labels: Tensor
    temperature: Tensor | float

    def __init__(
        self, encoder: nn.Module, features: Tensor, labels: Tensor, temperature: Tensor | float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("features", features)
        self.register_buffer("labels", labels)
        keep_temperature(self, temperature)

    def forward(self, inputs: Inputs) -> Tensor:
        return log_attended(self.encoder(inputs), self.features, self.labels, self.temperature)


def logits_by_attention(
    weights: Mapping[str, Tensor], support: Examples, query: Tensor, n_outputs: int, *, temperature: float
) -> Tensor:
    """An `embedding.Compare`; the temperature may be a weight, `log_temperature`."""
    assert isinstance(support.inputs, Tensor)
    labels = one_hot(support.targets, n_outputs)
    return log_attended(query, support.inputs, labels, temperature_in(weights, temperature))


def log_attended(query: Tensor, features: Tensor, labels: Tensor, temperature: Tensor | float) -> Tensor:
    """log(a labels), (m, d), (n, d), one-hot (n, n_way) -> (m, n_way), in full precision under autocast.

    A class without examples has a logarithm of -1e4.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, features = full_precision(query), full_precision(features)
        cosines = F.normalize(query, dim=-1) @ F.normalize(features, dim=-1).T
        attention = (cosines / temperature).log_softmax(-1)
        # Summed in logarithms: at a temperature of .01 weights below exp(-100) are common, and they carry
        # the gradient of the examples that are most wrong. Class by class, as a tensor of all query, support
        # and class triples would not fit for 150 classes.
        of_classes = [
            attention.masked_fill(members == 0, _NOTHING).logsumexp(-1) for members in labels.unbind(-1)
        ]
        return torch.stack(of_classes, -1)
