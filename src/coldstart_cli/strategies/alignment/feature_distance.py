"""Alignment by a distance between the features of source and task that has a formula.

- CORAL: Sun and Saenko 2016, arXiv:1607.01719. On features, not on the last layer's outputs as there.
- MMD: the discrepancy of Long, Cao, Wang and Jordan 2015, arXiv:1502.02791 (DAN), on the features, not on
  three layers, with kernels of equal weight.
- CCSA: Motiian, Piccirilli, Adjeroh and Doretto 2017, arXiv:1709.10190.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, Len
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Adapted, Strategy, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, linear_head
from coldstart_cli.strategies.building_blocks import discrepancy
from coldstart_cli.strategies.building_blocks.source_memory import Memory
from coldstart_cli.strategies.building_blocks.two_domains import Domains, adapt_between, fit_and_remember
from coldstart_cli.training.inner_loop import Weights, rule_named
from coldstart_cli.training.optimizers import OptimizerFactory


class Coral(Strategy):
    """Brings the covariances of source and task features together while it learns the task.

    Loss of a step: classification of both domains + weight * `discrepancy.coral`.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        batch_size: source examples in one outer step.
        memory_size: source examples kept for adaptation.
        adaptation_batch_size: examples of each kind in one step of adaptation.
        weight: of the distance.
        lr, rule, momentum: of adaptation; the momentum is that of `sgd`.
    """

    needs_labels = False
    needs_unlabelled = True
    lowers_distance_by, replayable = "weight", False

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        batch_size: Annotated[int, Ge(1)],
        memory_size: Annotated[int, Ge(1)],
        adaptation_batch_size: Annotated[int, Ge(1)],
        weight: Annotated[float, Ge(0)],
        lr: Annotated[float, Gt(0)],
        rule: Literal["sgd", "adam"],
        momentum: Annotated[float, Ge(0), Le(1)],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.memory = Memory(memory_size)
        self.seed, self.batch_size, self.memory_size = seed, batch_size, memory_size
        self.adaptation_batch_size, self.weight = adaptation_batch_size, weight
        self.lr, self.rule, self.momentum = lr, rule, momentum
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_and_remember(
            self.network,
            self.memory,
            source,
            self.optimizer,
            batch_size=self.batch_size,
            seed=self.seed,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        return adapt_between(
            self.network,
            self.memory,
            support,
            self._step_loss,
            _coral,
            {},
            batch_size=self.adaptation_batch_size,
            rule=rule_named(self.rule, self.lr, self.momentum),
        )

    def _step_loss(self, classification: Tensor, weights: Weights, domains: Domains, step: int) -> Tensor:
        return classification + self.weight * _coral(domains)


class MMD(Strategy):
    """Brings the distributions of source and task features together while it learns the task.

    Loss of a step: classification of both domains + weight * `discrepancy.mmd`.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        batch_size: source examples in one outer step.
        memory_size: source examples kept for adaptation.
        adaptation_batch_size: examples of each kind in one step of adaptation.
        weight: of the distance.
        bandwidths: of the kernels, in units of the median squared distance of a batch.
        lr, rule, momentum: of adaptation; the momentum is that of `sgd`.
    """

    needs_labels = False
    needs_unlabelled = True
    lowers_distance_by, replayable = "weight", False

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        batch_size: Annotated[int, Ge(1)],
        memory_size: Annotated[int, Ge(1)],
        adaptation_batch_size: Annotated[int, Ge(1)],
        weight: Annotated[float, Ge(0)],
        bandwidths: Annotated[list[Annotated[float, Gt(0)]], Len(1)],
        lr: Annotated[float, Gt(0)],
        rule: Literal["sgd", "adam"],
        momentum: Annotated[float, Ge(0), Le(1)],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.memory = Memory(memory_size)
        self.seed, self.batch_size, self.memory_size = seed, batch_size, memory_size
        self.adaptation_batch_size, self.weight, self.bandwidths = adaptation_batch_size, weight, bandwidths
        self.lr, self.rule, self.momentum = lr, rule, momentum
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_and_remember(
            self.network,
            self.memory,
            source,
            self.optimizer,
            batch_size=self.batch_size,
            seed=self.seed,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        return adapt_between(
            self.network,
            self.memory,
            support,
            self._step_loss,
            self._distance,
            {},
            batch_size=self.adaptation_batch_size,
            rule=rule_named(self.rule, self.lr, self.momentum),
        )

    def _distance(self, domains: Domains) -> Tensor:
        return discrepancy.mmd(domains.source, domains.target, self.bandwidths)

    def _step_loss(self, classification: Tensor, weights: Weights, domains: Domains, step: int) -> Tensor:
        return classification + self.weight * self._distance(domains)


class CCSA(Strategy):
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
        batch_size: source examples in one outer step.
        memory_size: source examples kept for adaptation.
        adaptation_batch_size: examples of each domain in one step of adaptation.
        gamma: share of alignment in the loss.
        margin: distance that different classes keep, in [0, 2] on the unit sphere.
        lr, rule, momentum: of adaptation; the momentum is that of `sgd`.
    """

    needs_classes = True
    lowers_distance_by, replayable = "gamma", False

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        batch_size: Annotated[int, Ge(1)],
        memory_size: Annotated[int, Ge(1)],
        adaptation_batch_size: Annotated[int, Ge(1)],
        gamma: Annotated[float, Ge(0), Le(1)],
        margin: Annotated[float, Gt(0), Le(2)],
        lr: Annotated[float, Gt(0)],
        rule: Literal["sgd", "adam"],
        momentum: Annotated[float, Ge(0), Le(1)],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.memory = Memory(memory_size)
        self.seed, self.batch_size, self.memory_size = seed, batch_size, memory_size
        self.adaptation_batch_size, self.gamma, self.margin = adaptation_batch_size, gamma, margin
        self.lr, self.rule, self.momentum = lr, rule, momentum
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_and_remember(
            self.network,
            self.memory,
            source,
            self.optimizer,
            batch_size=self.batch_size,
            seed=self.seed,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Unlabelled examples are left out: a pair needs two labels."""

        def distance(domains: Domains) -> Tensor:
            return contrast(domains, support.source_classes, self.margin)

        def step_loss(classification: Tensor, weights: Weights, domains: Domains, step: int) -> Tensor:
            return (1 - self.gamma) * classification + self.gamma * distance(domains)

        return adapt_between(
            self.network,
            self.memory,
            replace(support, unlabelled=None),
            step_loss,
            distance,
            {},
            batch_size=self.adaptation_batch_size,
            rule=rule_named(self.rule, self.lr, self.momentum),
        )


def contrast(domains: Domains, source_classes: Tensor | None, margin: float) -> Tensor:
    """CCSA's semantic alignment + separation, over the pairs that `CCSA` names."""
    points, point_classes = domains.source, domains.source_targets
    if source_classes is None:
        classes = -1 - domains.labelled_targets  # numbers that no source class has
        points = torch.cat([points, domains.labelled])
        point_classes = torch.cat([point_classes, classes])
    else:
        classes = source_classes[domains.labelled_targets]
    squared = discrepancy.squared_distances(F.normalize(points), F.normalize(domains.labelled))
    distances = squared.clamp(min=1e-12).sqrt()  # the root has no derivative at 0
    same = point_classes.unsqueeze(1) == classes
    itself = torch.zeros_like(same)
    if source_classes is None:
        itself[len(domains.source) :].fill_diagonal_(True)
    aligned = discrepancy.semantic_alignment(distances, same & ~itself)
    return aligned + discrepancy.separation(distances, ~same, margin)


def _coral(domains: Domains) -> Tensor:
    return discrepancy.coral(domains.source, domains.target)
