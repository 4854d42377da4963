"""FEAT: class means that a set-to-set transformer adapts to one another.

Ye, Hu, Zhan and Sha 2020, arXiv:1812.03664: a transformer T without positions reads the class means of a task
as a set (equation 3), psi_k = T(mu)_k, and logits are -|phi(x) - psi_k|^2 / temperature (equation 4). With
one head of the features' width,

    T(v) = LayerNorm(v + W_o softmax(W_q v (W_k v)' / sqrt(d)) W_v v)        (equations 5 to 7)

The contrastive loss (equation 8) asks the same of instances: c_k is the mean of T over the examples of class
k, support and query, as a set of their own, and all are classified by -|phi(x) - c_k|^2 / temperature.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Unpack, final

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Support, TaskSource
from coldstart_cli.models.attention import MultiHeadAttention
from coldstart_cli.models.network import Encoder, below
from coldstart_cli.strategies.building_blocks.discrepancy import squared_distances
from coldstart_cli.strategies.building_blocks.embedding import fit_embedding, full_precision
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.building_blocks.standardising import encoder_for, source_statistics
from coldstart_cli.strategies.building_blocks.temperature import Tempered, log_temperature, temperature_in
from coldstart_cli.strategies.meta_learning.protonet import NearestPrototype
from coldstart_cli.training.optimizers import OptimizerFactory


class FEAT(Strategy):
    """Learns an encoder and a transformer of class means; adaptation is one forward pass.

    Departures: the encoder is not trained by a classification of all source classes first; both losses share
    one temperature, where the authors' code has two, and a dropout of .1 among the weights of attention.

    Args:
        encoder, optimizer, vectorize: from the run.
        contrastive_weight: of the loss of equation 8; the paper's lambda.
        dropout: of the attention's output in training.
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
        contrastive_weight: Annotated[float, Ge(0)],
        dropout: Annotated[float, Ge(0), Lt(1)],
        standardise: Annotated[float, Gt(0)] | None,
        meta_batch_size: Annotated[int, Ge(1)],
        **tempered: Unpack[Tempered],
    ) -> None:
        super().__init__()
        self.encoder, self.vectorize, self.meta_batch_size = encoder, vectorize, meta_batch_size
        self.contrastive_weight, self.dropout = contrastive_weight, dropout
        self.transformer = SetTransformer(encoder.feature_dim, dropout)
        self.tempered, self.log_temperature = tempered, log_temperature(tempered)
        self.standardise = standardise
        self.standard = source_statistics(standardise, encoder.feature_dim)
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        # Without a weight the loss is not computed at all.
        beside = self._contrastive_loss if self.contrastive_weight > 0 else None
        return fit_embedding(self, self._logits, source, start, beside=beside)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            weights = dict(self.named_parameters())
            encoder, own = encoder_for(self.encoder, weights, self.standardise, support)
            means = prototypes(encoder(support.inputs), support.targets, support.objective.n_outputs)
            adapted = self.transformer(means)
            temperature = temperature_in(weights, self.tempered["temperature"])
        made = partial(NearestPrototype, encoder, adapted, temperature)
        yield Adapted(made, {"prototypes": adapted, **own})

    def _logits(
        self, weights: Mapping[str, Tensor], support: Examples, query: Tensor, n_outputs: int
    ) -> Tensor:
        """An `embedding.Compare` whose weights are `transformer.*`, and perhaps `log_temperature`."""
        assert isinstance(support.inputs, Tensor)
        means = prototypes(support.inputs, support.targets, n_outputs)
        adapted = self._transformed(weights, means, None)
        return -squared_distances(query, adapted) / temperature_in(weights, self.tempered["temperature"])

    def _contrastive_loss(self, weights: Mapping[str, Tensor], task: Examples, n_outputs: int) -> Tensor:
        """Equation 8 for all examples of a task, features (n, d) with their targets, weighted."""
        assert isinstance(task.inputs, Tensor)
        # One pass for all classes: an example attends to those of its own class alone.
        same_class = task.targets.unsqueeze(1) == task.targets
        adapted = self._transformed(weights, task.inputs, same_class)
        centres = prototypes(adapted, task.targets, n_outputs)
        distances = squared_distances(task.inputs, centres)
        logits = -distances / temperature_in(weights, self.tempered["temperature"])
        log_p = logits.log_softmax(-1)
        chosen = one_hot(task.targets, n_outputs).to(log_p.dtype)
        return -self.contrastive_weight * (log_p * chosen).sum(-1).mean()

    def _transformed(self, weights: Mapping[str, Tensor], values: Tensor, attends: Tensor | None) -> Tensor:
        own = below("transformer.", weights)
        found: Tensor = functional_call(self.transformer, own, (values, attends))
        return found


@final
class SetTransformer(nn.Module):
    """One layer of self-attention over a set, without positions: (n, d) -> (n, d).

    Args:
        width: d, of the features; one head.
        dropout: of what is read, before it is added to the input.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.attention, self.norm = MultiHeadAttention(width, n_heads=1), nn.LayerNorm(width)
        self.dropout = dropout

    def forward(self, values: Tensor, attends: Tensor | None = None) -> Tensor:
        """`attends`: as in `MultiHeadAttention`."""
        with torch.autocast(values.device.type, enabled=False):
            v = full_precision(values)
            read = self.attention(v, v, v, attends)
            if self.dropout > 0:
                read = F.dropout(read, self.dropout, self.training)
            found: Tensor = self.norm(v + read)
            return found
