"""Alignment by a distance between the features of source and task that has a formula.

- CORAL: Sun and Saenko 2016, arXiv:1607.01719. On features, not on the last layer's outputs as there.
- MMD: the discrepancy of Long, Cao, Wang and Jordan 2015, arXiv:1502.02791 (DAN), on the features, not on
  three layers, with kernels of equal weight.
- MCC: Jin, Wang, Long and Wang 2020, arXiv:1912.03699. Of predictions, not of features.
- CCSA: Motiian, Piccirilli, Adjeroh and Doretto 2017, arXiv:1709.10190.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Gt, Le, Len
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, linear_head
from coldstart_cli.strategies.building_blocks import discrepancy
from coldstart_cli.strategies.building_blocks.source_memory import Memory
from coldstart_cli.strategies.building_blocks.two_domains import (
    BetweenDomains,
    Domains,
    adapt_between,
    fit_and_remember,
)
from coldstart_cli.training.inner_loop import Weights
from coldstart_cli.training.optimizers import OptimizerFactory

Distance = Callable[[Domains, Tensor | None], Tensor]
"""(features of a batch, source class of each class of the task; None where they are new) -> a scalar."""


class DomainDistance(Strategy):
    """Brings the features of source and task together while it learns the task.

    Loss of a step: classification_weight * classification of both domains + weight * distance. A config
    names a function below, which chooses the distance and what it needs.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        distance: what a step lowers, and what is noted.
        weight: of the distance.
        classification_weight: of the classification loss.
        of_classes: the distance compares labels: unlabelled examples are left out, otherwise needed.
        between: see `BetweenDomains`.
    """

    lowers_distance_by, replayable = "weight", False
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        distance: Distance,
        weight: float,
        classification_weight: float,
        of_classes: bool,
        **between: Unpack[BetweenDomains],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.memory = Memory(between["memory_size"])
        self.seed, self.between = seed, between
        self.distance, self.of_classes = distance, of_classes
        self.weight, self.classification_weight = weight, classification_weight
        self.needs_classes = self.needs_labels = of_classes
        self.needs_unlabelled = not of_classes
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_and_remember(
            self.network, self.memory, source, self.optimizer, self.between, seed=self.seed, start=start
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        def distance(domains: Domains) -> Tensor:
            return self.distance(domains, support.source_classes)

        def step_loss(classification: Tensor, weights: Weights, domains: Domains, step: int) -> Tensor:
            return self.classification_weight * classification + self.weight * distance(domains)

        seen = replace(support, unlabelled=None) if self.of_classes else support
        return adapt_between(self.network, self.memory, seen, step_loss, distance, {}, self.between)


def coral(
    encoder: Encoder,
    optimizer: OptimizerFactory,
    n_source_outputs: int,
    seed: int,
    *,
    weight: Annotated[float, Ge(0)],
    **between: Unpack[BetweenDomains],
) -> DomainDistance:
    """Brings the covariances of source and task features together while it learns the task.

    Loss of a step: classification of both domains + weight * `discrepancy.coral`.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        weight: of the distance.
        between: see `BetweenDomains`.
    """
    return DomainDistance(
        encoder,
        optimizer,
        n_source_outputs,
        seed,
        distance=_of_covariances,
        weight=weight,
        classification_weight=1,
        of_classes=False,
        **between,
    )


def mmd(
    encoder: Encoder,
    optimizer: OptimizerFactory,
    n_source_outputs: int,
    seed: int,
    *,
    weight: Annotated[float, Ge(0)],
    bandwidths: Annotated[list[Annotated[float, Gt(0)]], Len(1)],
    unbiased: bool,
    **between: Unpack[BetweenDomains],
) -> DomainDistance:
    """Brings the distributions of source and task features together while it learns the task.

    Loss of a step: classification of both domains + weight * `discrepancy.mmd`.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        weight: of the distance.
        bandwidths: of the kernels, in units of the median squared distance of a batch.
        unbiased: the estimate that leaves out pairs of an example with itself; see `discrepancy.mmd`.
        between: see `BetweenDomains`.
    """
    return DomainDistance(
        encoder,
        optimizer,
        n_source_outputs,
        seed,
        distance=partial(_of_distributions, bandwidths=bandwidths, unbiased=unbiased),
        weight=weight,
        classification_weight=1,
        of_classes=False,
        **between,
    )


def mcc(
    encoder: Encoder,
    optimizer: OptimizerFactory,
    n_source_outputs: int,
    seed: int,
    *,
    weight: Annotated[float, Ge(0)],
    temperature: Annotated[float, Gt(0)],
    **between: Unpack[BetweenDomains],
) -> DomainDistance:
    """Makes the task's unlabelled examples be told apart clearly while it learns the task.

    Loss of a step: classification of both domains + weight * `discrepancy.class_confusion` of what the task's
    head says of the unlabelled examples, which is the `distance` that it notes.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        weight: of the confusion.
        temperature: of the softmax that it is computed from.
        between: see `BetweenDomains`.
    """
    strategy = DomainDistance(
        encoder,
        optimizer,
        n_source_outputs,
        seed,
        distance=partial(_of_predictions, temperature=temperature),
        weight=weight,
        classification_weight=1,
        of_classes=False,
        **between,
    )
    strategy.needs_classes = True
    return strategy


def ccsa(
    encoder: Encoder,
    optimizer: OptimizerFactory,
    n_source_outputs: int,
    seed: int,
    *,
    gamma: Annotated[float, Ge(0), Le(1)],
    margin: Annotated[float, Gt(0), Le(2)],
    **between: Unpack[BetweenDomains],
) -> DomainDistance:
    """Draws examples of one class together across the domains and keeps those of different classes apart.

    Loss of a step: (1 - gamma) classification + gamma (semantic alignment + separation), over all pairs of
    a source and a labelled example of the batch. Departures: features are scaled to length 1 before
    distances are taken, so that the margin means the same for every encoder; the means over pairs of one
    class and of different classes weigh the same, where the paper sums over pairs drawn 1 : 3.

    Where the classes are new no pair across the domains is of one class. Our extension: pairs within the
    task join in, so that its classes gather (from two shots on) and keep away from one another and from
    every source class.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        gamma: share of alignment in the loss.
        margin: distance that different classes keep, in [0, 2] on the unit sphere.
        between: see `BetweenDomains`.
    """
    strategy = DomainDistance(
        encoder,
        optimizer,
        n_source_outputs,
        seed,
        distance=partial(contrast, margin=margin),
        weight=gamma,
        classification_weight=1 - gamma,
        of_classes=True,
        **between,
    )
    # The weight of the distance has another name in this config.
    strategy.lowers_distance_by = "gamma"
    return strategy


def _of_covariances(domains: Domains, source_classes: Tensor | None) -> Tensor:
    return discrepancy.coral(domains.source, domains.target)


def _of_distributions(
    domains: Domains, source_classes: Tensor | None, bandwidths: Sequence[float], *, unbiased: bool
) -> Tensor:
    return discrepancy.mmd(domains.source, domains.target, bandwidths, unbiased=unbiased)


def _of_predictions(domains: Domains, source_classes: Tensor | None, temperature: float) -> Tensor:
    return discrepancy.class_confusion(domains.unlabelled_outputs, temperature)


def contrast(domains: Domains, source_classes: Tensor | None, margin: float) -> Tensor:
    """CCSA's semantic alignment + separation, over the pairs that `ccsa` names."""
    points, point_classes = domains.source, domains.source_targets
    if source_classes is None:
        classes = -1 - domains.labelled_targets  # negative: no source class has such a number
        points = torch.cat([points, domains.labelled])
        point_classes = torch.cat([point_classes, classes])
    else:
        classes = source_classes[domains.labelled_targets]
    squared = discrepancy.squared_distances(F.normalize(points), F.normalize(domains.labelled))
    distances = squared.clamp(min=1e-12).sqrt()  # the root has no derivative at 0
    same = point_classes.unsqueeze(1) == classes
    # An example of the task is paired with itself too, at distance 0: that pair must not count.
    itself = torch.zeros_like(same)
    if source_classes is None:
        itself[len(domains.source) :].fill_diagonal_(True)
    aligned = discrepancy.semantic_alignment(distances, same & ~itself)
    return aligned + discrepancy.separation(distances, ~same, margin)
