"""The training of strategies that encode a task once and compare its features in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core.tasks import Examples, Inputs, Objective, TaskSource, joined, n_examples
from coldstart_cli.models.network import Encoder, below
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.strategies.building_blocks.standardising import SourceStatistics, statistics
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.outer_loops import episodic


class Compare(Protocol):
    def __call__(
        self, weights: Mapping[str, Tensor], support: Examples, query: Tensor, n_outputs: int
    ) -> Tensor:
        """Outputs (n_query, n_outputs) of one task.

        Args:
            weights: the strategy's own parameters by name, the encoder's among them as `encoder.*`.
            support: features (n_support, feature_dim) with their targets.
            query: features (n_query, feature_dim).
        """


class Beside(Protocol):
    def __call__(self, weights: Mapping[str, Tensor], task: Examples, n_outputs: int) -> Tensor:
        """A scalar that is added to the loss of a task, of the features of support and query set together."""


class Embedding(Protocol):
    """What such a strategy holds; its parameters are the encoder's, as `encoder.*`, and any of its own."""

    encoder: Encoder
    optimizer: torch.optim.Optimizer
    vectorize: bool
    meta_batch_size: int
    standardise: float | None
    standard: SourceStatistics | None

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...


def fit_embedding(
    strategy: Embedding, compare: Compare, source: TaskSource, start: int, *, beside: Beside | None = None
) -> Iterator[dict[str, float]]:
    """Learns all parameters of the strategy by the query loss of training tasks and what is `beside` it."""
    if strategy.standard is not None and start == 0:
        strategy.standard.observe(strategy.encoder, source)
    score = partial(task_scores, strategy.encoder, compare, beside=beside, standardise=strategy.standardise)
    return episodic(
        score,
        dict(strategy.named_parameters()),
        source,
        strategy.optimizer,
        meta_batch_size=strategy.meta_batch_size,
        vectorize=strategy.vectorize,
        start=start,
    )


def task_scores(
    encoder: Encoder,
    compare: Compare,
    each: Each,
    weights: Mapping[str, Tensor],
    objective: Objective,
    support: Examples,
    query: Examples,
    *,
    beside: Beside | None = None,
    standardise: float | None = None,
) -> dict[str, Tensor]:
    """Loss and metrics on the query set; with encoder and comparison bound, a `training.TaskLoss`.

    Both sets in one pass, so that batch statistics, where a norm uses them, are the whole task's.
    Features are standardised by the support set's: its unlabelled examples take part in `adapt` alone.
    """

    def score(
        weights: Mapping[str, Tensor],
        support_inputs: Inputs,
        support_targets: Tensor,
        query_inputs: Inputs,
        query_targets: Tensor,
    ) -> dict[str, Tensor]:
        inputs = joined(support_inputs, query_inputs)
        features = functional_call(encoder, below("encoder.", weights), (inputs,))
        # Support first: the query's rows are what comes after.
        n = n_examples(support_inputs)
        if standardise is not None:
            mean, deviation = statistics(features[:n], weights, standardise)
            features = (features - mean) / deviation
        learned = Examples(features[:n], support_targets)
        outputs = compare(weights, learned, features[n:], objective.n_outputs)
        found = scores(objective, outputs, query_targets)
        if beside is not None:
            task = Examples(features, torch.cat([support_targets, query_targets]))
            found["loss"] = found["loss"] + beside(weights, task, objective.n_outputs)
        return found

    found: dict[str, Tensor] = each(score)(
        weights, support.inputs, support.targets, query.inputs, query.targets
    )
    return found


def full_precision(features: Tensor) -> Tensor:
    """Features in fp32 at least, for arithmetic that is too fine for bf16; to be used with autocast off."""
    return features if features.dtype == torch.float64 else features.float()
