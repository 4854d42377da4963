"""The attentive neural process: every query reads the examples that resemble it, and says how sure it is.

Kim et al. 2019, arXiv:1901.05761, section 3, the deterministic path. With features phi(x) and
pairs r_i = h([phi(x_i), y_i]) that read one another by self-attention, a query x reads

    r = MultiHead(query k(phi(x)), keys k(phi(x_i)), values r_i),    z = mean_i r_i,
    mean = g([phi(x), r, z]),    deviation = m + (1 - m) softplus(s([phi(x), r, z])).

Regressions learn the mean by its squared error, and s alone by the Gaussian log-likelihood of the query set,
-log N(y; mean, deviation^2): the two apart, as in Skafte, Jorgensen and Hauberg 2019, arXiv:1906.03260.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt, Len, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.objectives import gaussian_losses, one_hot
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource, joined, n_examples
from coldstart_cli.models.attention import MultiHeadAttention
from coldstart_cli.models.mlp import perceptron
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.scores import other_width, scores
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class AttentiveNeuralProcess(Strategy):
    """Learns to read a task off its support set, query by query: adaptation is one forward pass.

    Departures: z is the mean itself, as in the conditional neural process, where the paper samples from a
    distribution around one: there are no samples of functions that hang together, and no lower bound. x is
    read by the run's encoder. Self-attention reads normalised pairs (LayerNorm without weights) and adds to
    them. The paper learns all by the likelihood: on sinusoids training then stood still for 600 of 1,000
    steps, as the gradient of a small deviation drowned that of the mean. Classification, which the paper does
    not have: y is one-hot, g makes logits, and the loss is the cross-entropy. Classes then have numbers that
    it must learn to ignore; `strategy=task_encoder` and `protonet` need not.

    Args:
        encoder, optimizer, n_outputs, n_way, vectorize: from the run; where n_way is None, tasks are
            regressions.
        width: of pairs, keys and queries.
        n_heads: of each attention; they divide `width`.
        n_self_attention: layers of self-attention over the pairs.
        init_gain: of the initial weights that make queries and keys of the last attention: at 1 every query
            reads the mean of all examples at first, and learns late that it need not.
        hidden: units of the hidden layers of h, k, g and s.
        min_deviation: m, the smallest standard deviation, in units of the targets as they are learned.
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
        width: Annotated[int, Ge(1)],
        n_heads: Annotated[int, Ge(1)],
        n_self_attention: Annotated[int, Ge(0)],
        init_gain: Annotated[float, Gt(0)],
        hidden: Annotated[list[Annotated[int, Ge(1)]], Len(1)],
        min_deviation: Annotated[float, Ge(0), Lt(1)],
        meta_batch_size: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.n_outputs, self.n_way, self.vectorize = n_outputs, n_way, vectorize
        self.width, self.n_heads, self.n_self_attention = width, n_heads, n_self_attention
        self.init_gain, self.hidden = init_gain, hidden
        self.min_deviation, self.meta_batch_size = min_deviation, meta_batch_size
        self.network = AttentiveNetwork(
            encoder, n_outputs, width, n_heads, n_self_attention, hidden, deviates=n_way is None
        )
        with torch.no_grad():
            self.network.across.query.weight *= init_gain
            self.network.across.key.weight *= init_gain
        self.optimizer = optimizer(self.parameters())

    def refusal(self, tasks: TaskSource) -> str | None:
        return other_width(self.n_outputs, tasks) or super().refusal(tasks)

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
            keys, values = self.network.memory(self.network.encoder(support.inputs), self._told(support))
        made = partial(AttentivePredictor, self.network, keys, values)
        deviation = None if self.n_way else partial(made, self.min_deviation)
        yield Adapted(made, {"keys": keys, "values": values}, deviation=deviation)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """The network is called directly, as `TaskEncoder`'s is: no task changes any of its weights."""

        def scores_of(
            support: Inputs, support_targets: Tensor, query: Inputs, query_targets: Tensor
        ) -> dict[str, Tensor]:
            features, n = self.network.encoder(joined(support, query)), n_examples(support)
            memory = self.network.memory(features[:n], self._told(Examples(support, support_targets)))
            read = self.network.read(features[n:], *memory)
            outputs = self.network.predictor(read)
            found = scores(objective, outputs, query_targets)
            if self.n_way:
                return found
            deviation = self.network.deviation(read.detach(), self.min_deviation)
            likelihood = gaussian_losses(outputs.detach(), deviation, query_targets).mean()
            return {**found, "loss": found["loss"] + likelihood, "gaussian_nll": likelihood.detach()}

        found: dict[str, Tensor] = each(scores_of)(
            support.inputs, support.targets, query.inputs, query.targets
        )
        return found

    def _told(self, support: Examples) -> Tensor:
        """The targets as the network reads them, (n, n_outputs)."""
        return one_hot(support.targets, self.n_outputs) if self.n_way else support.targets


@final
class AttentiveNetwork(nn.Module):
    """What queries and a support set go through.

    Args:
        deviates: it makes deviations beside means.
    """

    def __init__(
        self,
        encoder: Encoder,
        n_outputs: int,
        width: int,
        n_heads: int,
        n_self_attention: int,
        hidden: list[int],
        *,
        deviates: bool,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pair_encoder = perceptron([encoder.feature_dim + n_outputs, *hidden, width])
        self.key_encoder = perceptron([encoder.feature_dim, *hidden, width])
        self.among = nn.ModuleList(MultiHeadAttention(width, n_heads) for _ in range(n_self_attention))
        self.across = MultiHeadAttention(width, n_heads)
        self.predictor = perceptron([encoder.feature_dim + 2 * width, *hidden, n_outputs])
        # Modules that are missing have no state, so a classifier carries none that it never uses.
        self.deviator = (
            perceptron([encoder.feature_dim + 2 * width, *hidden, n_outputs]) if deviates else None
        )

    def memory(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (n, width) of a support set: features (n, feature_dim), targets (n, n_outputs)."""
        values = self.pair_encoder(torch.cat([features, targets.to(features.dtype)], dim=1))
        for attention in self.among:
            normal = F.layer_norm(values, values.shape[-1:])
            values = values + attention(normal, normal, normal)
        return self.key_encoder(features), values

    def read(self, features: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[phi(x), r, z] of queries: (n, feature_dim) -> (n, feature_dim + 2 width)."""
        own = self.across(self.key_encoder(features), keys, values)
        told = torch.cat([own, values.mean(0).expand_as(own)], dim=1)
        return torch.cat([features, told.to(features.dtype)], dim=1)

    def deviation(self, read: Tensor, least: float) -> Tensor:
        """Standard deviations (n, n_outputs) of what `read` gave, above `least`."""
        assert self.deviator is not None
        return least + (1 - least) * F.softplus(self.deviator(read))


@final
class AttentivePredictor(nn.Module):
    """Means or logits (n, n_outputs) for one task; with a `min_deviation`, standard deviations instead."""

    keys: Tensor
    values: Tensor

    def __init__(
        self, network: AttentiveNetwork, keys: Tensor, values: Tensor, min_deviation: float | None = None
    ) -> None:
        super().__init__()
        self.network, self.min_deviation = network, min_deviation
        self.register_buffer("keys", keys)
        self.register_buffer("values", values)

    def forward(self, inputs: Inputs) -> Tensor:
        read = self.network.read(self.network.encoder(inputs), self.keys, self.values)
        if self.min_deviation is not None:
            return self.network.deviation(read, self.min_deviation)
        outputs: Tensor = self.network.predictor(read)
        return outputs
