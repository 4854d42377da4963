"""Probabilistic linear discriminant analysis: how classes differ is learned from those of the source.

Ioffe 2006, "Probabilistic linear discriminant analysis", ECCV, LNCS 3954:531. A feature is x = m + y + e,
where y ~ N(0, B) is its class's and e ~ N(0, W) its own. In a space u = A^-1 (x - m) where the covariance of
e is I and that of y is diagonal, Psi, a class with n examples of mean u' predicts

    p(u | class) = N(u | n Psi / (n Psi + I) u', I + Psi / (n Psi + I)).

W and B are estimated from classes of the source: Psi = max(0, L - I / n), with L the variances of class means
where the variance within is 1, and n the mean number of examples of a class.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Inputs, Pool, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.strategies.alignment.source_knowledge import READ_AT_ONCE, SourceKnowledge
from coldstart_cli.strategies.building_blocks.centred import Centred
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.building_blocks.source_classifier import fit_classifier
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import in_turn


class PLDA(Strategy):
    """Trains a source classifier; the last step reads the covariances of its classes, which new ones share.

    Departures: features are centred and of length 1, as in SimpleShot; class means count alike, whatever the
    number of their examples; and W is shrunk towards a multiple of I, or it could not be inverted where the
    source has fewer examples than features.

    Args:
        encoder, optimizer, n_source_outputs, n_steps, seed: from the run.
        batch_size: source examples in one outer step.
        shrinkage: of W, towards I times its mean variance; at 1 all features vary alike within classes.
    """

    needs_classes = True
    starts_from_support = True
    centre: Tensor
    mean: Tensor
    transform: Tensor
    psi: Tensor

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        n_steps: int,
        seed: int,
        *,
        batch_size: Annotated[int, Ge(1)],
        shrinkage: Annotated[float, Gt(0), Le(1)],
    ) -> None:
        super().__init__()
        # The head trains even over a frozen encoder: the last of the steps is needed.
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.seed, self.batch_size, self.shrinkage = seed, batch_size, shrinkage
        self.preparing_steps = n_steps - 1
        self.optimizer = optimizer(self.network.parameters())
        width = encoder.feature_dim
        for name, start in (("centre", torch.zeros(width)), ("mean", torch.zeros(width))):
            self.register_buffer(name, start)
        self.register_buffer("transform", torch.eye(width))
        self.register_buffer("psi", torch.ones(width))

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        training = partial(
            fit_classifier,
            self.network,
            source,
            self.optimizer,
            batch_size=self.batch_size,
            seed=self.seed,
        )
        phases = [
            (self.preparing_steps, lambda first: training(start=first)),
            (1, lambda first: self._read(source) if first == 0 else iter(())),
        ]
        return in_turn(phases, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        encoder, n_way = (
            Centred(self.network.encoder, self.centre.clone(), normalise=True),
            support.objective.n_outputs,
        )
        with torch.no_grad():
            features = (encoder(support.inputs) - self.mean) @ self.transform
            n = one_hot(support.targets, n_way).sum(0).to(features.dtype).unsqueeze(1)
            sure = n * self.psi / (n * self.psi + 1)
            means = sure * prototypes(features, support.targets, n_way)
            variances = 1 + self.psi / (n * self.psi + 1)
        changed = {"means": means, "variances": variances}
        yield Adapted(
            partial(Likelihood, encoder, self.mean.clone(), self.transform.clone(), means, variances), changed
        )

    def _read(self, source: TaskSource) -> Iterator[dict[str, float]]:
        found = covariances(Predictor(self.network.encoder, {}), source.pool("train"), self.network.head)
        centre, mean, within, between, n = found
        transform, psi = diagonalised(within, between, n, self.shrinkage)
        for buffer, value in zip(
            (self.centre, self.mean, self.transform, self.psi), (centre, mean, transform, psi), strict=True
        ):
            buffer.copy_(value)
        yield {"directions": float((psi > 0).sum()), "largest_psi": float(psi.max())}


class Likelihood(nn.Module):
    """Logits log N(u | mean, variance), less what classes share, of u = (features - shift) transform.

    Args:
        means, variances: (n_way, feature_dim).
    """

    shift: Tensor
    transform: Tensor
    means: Tensor
    variances: Tensor

    def __init__(
        self, encoder: nn.Module, shift: Tensor, transform: Tensor, means: Tensor, variances: Tensor
    ) -> None:
        super().__init__()
        self.encoder = encoder
        for name, tensor in (
            ("shift", shift),
            ("transform", transform),
            ("means", means),
            ("variances", variances),
        ):
            self.register_buffer(name, tensor)

    def forward(self, inputs: Inputs) -> Tensor:
        u = (self.encoder(inputs) - self.shift) @ self.transform
        precisions = 1 / self.variances
        apart = (self.means.square() * precisions + self.variances.log()).sum(1)
        logits: Tensor = u @ (self.means * precisions).T - (u.square() @ precisions.T + apart) / 2
        return logits


@torch.no_grad()
def covariances(
    encoder: nn.Module, pool: Pool, head: nn.Linear
) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """The centre, and of centred features of length 1 the mean of the class means, W, the means' own
    covariance (d, d), and the mean number of examples of a class.

    Args:
        head: over the source's classes; its shape and device are read.
    """
    known = SourceKnowledge(head.out_features, head.in_features).to(head.weight)
    known.fill(encoder, pool)
    seen = known.sizes > 0
    means, sizes = known.known[seen].double(), known.sizes[seen].double()
    squares = torch.zeros(head.in_features, head.in_features, dtype=torch.float64, device=means.device)
    for first in range(0, len(pool), READ_AT_ONCE):
        part = pool.examples(torch.arange(first, min(first + READ_AT_ONCE, len(pool))))
        x = known.centred(encoder(part.to(means.device).inputs)).double()
        squares += x.T @ x
    within = squares - (means * sizes.unsqueeze(1)).T @ means
    mean = means.mean(0)
    apart = means - mean
    freedom = max(1, len(pool) - len(means))
    return (
        known.centre,
        mean,
        within / freedom,
        apart.T @ apart / max(1, len(means) - 1),
        len(pool) / len(means),
    )


def diagonalised(within: Tensor, between: Tensor, n: float, shrinkage: float) -> tuple[Tensor, Tensor]:
    """A^-1 transposed (d, d), by which rows are multiplied, and Psi (d,).

    Args:
        within, between: (d, d) covariances within classes and of class means.
        n: mean number of examples of a class.
    """
    eye = torch.eye(len(within), dtype=within.dtype, device=within.device)
    shrunk = (1 - shrinkage) * within + shrinkage * within.diagonal().mean().clamp(min=TINY) * eye
    root = torch.linalg.cholesky(shrunk)
    half = torch.linalg.solve_triangular(root, between, upper=False)
    whitened = torch.linalg.solve_triangular(root, half.mT, upper=False)
    variances, directions = torch.linalg.eigh((whitened + whitened.mT) / 2)
    transform = torch.linalg.solve_triangular(root.mT, directions, upper=True)
    return transform, (variances - 1 / n).clamp(min=0)


TINY = 1e-8
"""Of a variance: a source of which each class has one example knows none within."""
