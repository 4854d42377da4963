"""Simple CNAPs: classify by the Mahalanobis distance to class means, by covariances of the support set.

Bateni, Goyal, Masrani, Wood and Sigal 2020, arXiv:1912.03432, equations 2 to 4. Of the support set's
features, mu_k and Sigma_k are the mean and the covariance of class k's, n_k in number, and Sigma that of all:

    p(k | x) = softmax_k(-1/2 (x - mu_k)' Q_k^-1 (x - mu_k)),
    Q_k = lambda_k Sigma_k + (1 - lambda_k) Sigma + beta I,    lambda_k = n_k / (n_k + 1).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Support, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.embedding import fit_embedding, full_precision
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.building_blocks.standardising import encoder_for, source_statistics
from coldstart_cli.training.optimizers import OptimizerFactory


class SimpleCNAPs(Strategy):
    """Learns an encoder whose features the Mahalanobis distance to class means tells apart.

    Departures: without the part of CNAPs that modulates a pretrained network by a task vector (section 3.2);
    the encoder is the run's and learns by the query loss of training tasks, as ProtoNet's does.

    Args:
        encoder, optimizer, vectorize: from the run.
        beta: what is added to the variances; the paper's is 1. It decides how large features have to be for
            their covariance to count.
        standardise: standardise features by the task's own examples, labelled and unlabelled; the source's
            statistics count as much as this number of them. None: features as they are.
        meta_batch_size: tasks in one outer step.
    """

    needs_classes = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        vectorize: bool,
        *,
        beta: Annotated[float, Gt(0)],
        standardise: Annotated[float, Gt(0)] | None,
        meta_batch_size: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.encoder, self.vectorize, self.meta_batch_size = encoder, vectorize, meta_batch_size
        self.beta = beta
        self.standardise = standardise
        self.standard = source_statistics(standardise, encoder.feature_dim)
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_embedding(self, partial(logits_by_mahalanobis, beta=self.beta), source, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            weights = dict(self.named_parameters())
            encoder, own = encoder_for(self.encoder, weights, self.standardise, support)
            features, n_way = encoder(support.inputs), support.objective.n_outputs
            means, precisions = gaussians(features, support.targets, n_way, self.beta)
        changed = {"means": means, "precisions": precisions, **own}
        yield Adapted(partial(NearestGaussian, encoder, means, precisions), changed)


class NearestGaussian(nn.Module):
    """Logits by means (n_way, feature_dim) and precisions Q^-1 (n_way, feature_dim, feature_dim)."""

    means: Tensor
    precisions: Tensor

    def __init__(self, encoder: nn.Module, means: Tensor, precisions: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("means", means)
        self.register_buffer("precisions", precisions)

    def forward(self, inputs: Inputs) -> Tensor:
        return -half_mahalanobis(self.encoder(inputs), self.means, self.precisions)


def logits_by_mahalanobis(
    weights: Mapping[str, Tensor], support: Examples, query: Tensor, n_outputs: int, *, beta: float
) -> Tensor:
    """An `embedding.Compare` without weights of its own: equation 2."""
    assert isinstance(support.inputs, Tensor)
    return -half_mahalanobis(query, *gaussians(support.inputs, support.targets, n_outputs, beta))


def gaussians(features: Tensor, targets: Tensor, n_way: int, beta: float) -> tuple[Tensor, Tensor]:
    """mu (n_way, d) and Q^-1 (n_way, d, d) of features (n, d), targets (n,): equations 3 and 4.

    Covariances have n - 1 in the denominator, as in the authors' code; that of one example is 0.
    """
    with torch.autocast(features.device.type, enabled=False):
        x = full_precision(features)
        members = one_hot(targets, n_way).to(x.dtype).T.unsqueeze(-1)  # (n_way, n, 1)
        n_each = members.sum(1, keepdim=True)  # (n_way, 1, 1)
        means = prototypes(x, targets, n_way)
        share = n_each / (n_each + 1)
        apart = (share / (n_each - 1).clamp(min=1)).sqrt() * members * (x - means.unsqueeze(1))
        centred = ((1 - share) / max(1, len(x) - 1)).sqrt() * (x - x.mean(0))
        rows = torch.cat([apart, centred], 1)  # (n_way, 2 n, d), with rows' rows = Q - beta I
        n_rows, d = rows.shape[1:]
        identity = torch.eye(d, dtype=x.dtype, device=x.device)
        if n_rows >= d:
            return means, torch.linalg.inv(rows.mT @ rows + beta * identity)
        # The same by Woodbury, where the examples are fewer than the features' dimensions.
        small = rows @ rows.mT + beta * torch.eye(n_rows, dtype=x.dtype, device=x.device)
        return means, (identity - rows.mT @ torch.linalg.solve(small, rows)) / beta


def half_mahalanobis(features: Tensor, means: Tensor, precisions: Tensor) -> Tensor:
    """(x - mu_k)' Q_k^-1 (x - mu_k) / 2, (n, d), (n_way, d), (n_way, d, d) -> (n, n_way)."""
    with torch.autocast(features.device.type, enabled=False):
        x, distances = full_precision(features), []
        # Class by class: the differences of all queries to all of 150 means would take a gigabyte.
        for mean, precision in zip(means, precisions, strict=True):
            apart = x - mean
            distances.append(((apart @ precision) * apart).sum(-1) / 2)
        return torch.stack(distances, -1)
