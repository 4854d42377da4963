"""LoRA: fine-tuning by low-rank updates of frozen weights.

Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen 2021, arXiv:2106.09685, section 4.1. Rank-stabilised:
Kalajdzievski 2023, arXiv:2312.03732.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.models.updates.low_rank import (
    check_rank,
    chosen,
    dropped,
    low_rank,
    matrices,
    merged,
    scale_of,
)
from coldstart_cli.strategies.building_blocks.source_classifier import (
    FineTuning,
    descended,
    fit_classifier,
    for_task,
    network_loss,
    rule_of,
    weights_of,
)
from coldstart_cli.training.inner_loop import Weights, clipped
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.randomness import step_seed


class LoRA(Strategy):
    """Trains a source classifier, then adapts low-rank updates of the encoder's weights, and the head.

    W' = W + (alpha / rank) B A for each of `models.low_rank.matrices`, or those that `targets` names; biases,
    norms and embeddings stay. The predictor has W', so that inference costs nothing more. The paper updates a
    transformer's attention weights. The head is as in fine-tuning, see `for_task`.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        source_training: learn from the source first; otherwise the encoder is updated as it is given, which
            suits pretrained ones.
        rank: of the updates, at most the smaller side of every matrix.
        alpha: the updates are scaled by alpha / rank.
        rank_stabilised: by alpha / sqrt(rank) instead (rsLoRA).
        targets: which matrices are updated, by a part of their names (`query`, `convs.3`); None for all.
        dropout: share of an update's inputs that a step leaves out; see `models.low_rank.dropped`.
        clip_norm: largest norm of the gradient of a step of adaptation, or None. Factors raise the curvature
            that they move in: by large residuals, as of sinusoids, plain steps of SGD run away.
        support_batch_size: support examples in a step of adaptation, drawn epoch after epoch; None for all.
        tuning: see `FineTuning`.

    Raises:
        ValueError: where the rank is above the smaller side of a matrix, or a target names none.
    """

    replayable = False  # it draws the first low-rank factors
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        source_training: bool,
        rank: Annotated[int, Ge(1)],
        alpha: Annotated[float, Gt(0)],
        rank_stabilised: bool,
        targets: list[str] | None,
        dropout: Annotated[float, Ge(0), Lt(1)],
        clip_norm: Annotated[float, Gt(0)] | None,
        support_batch_size: Annotated[int, Ge(1)] | None,
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        check_rank(rank, chosen(matrices(encoder), targets))
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.source_training = source_training
        self.learns_from_source, self.needs_labels = source_training, not source_training
        self.seed, self.rank, self.alpha, self.rank_stabilised = seed, rank, alpha, rank_stabilised
        self.targets, self.dropout, self.clip_norm = targets, dropout, clip_norm
        self.support_batch_size, self.tuning = support_batch_size, tuning
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        if not self.source_training:
            return iter(())
        return fit_classifier(
            self.network,
            source,
            self.optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step, `changed` being factors and head; once where there are no labels."""
        network = for_task(self.network, support, keep_head=self.source_training)
        updated = chosen(matrices(network.encoder), self.targets)
        frozen = {f"encoder.{name}": w.detach() for name, w in updated.items()}
        # By the support's seed: a task starts from the same factors whenever it is adapted to.
        start = low_rank(frozen, self.rank, support.seed) | weights_of(network, "head.")
        scale = scale_of(self.alpha, self.rank, rank_stabilised=self.rank_stabilised)
        full = partial(_full, frozen, scale)
        task_loss = network_loss(network, support, self.support_batch_size)
        chance = torch.Generator().manual_seed(step_seed(support.seed, 0))

        def loss(adapted: Weights) -> Tensor:
            return task_loss(full(dropped(adapted, self.dropout, chance) if self.dropout else adapted))

        rule = rule_of(self.tuning)
        if self.clip_norm is not None:
            rule = clipped(rule, self.clip_norm)
        for changed in descended(loss, start, rule, support):
            yield Adapted(partial(_predictor, network, full, changed), changed)


def _full(frozen: Weights, scale: float, adapted: Weights) -> Weights:
    """Of factors and head, the weights that the network reads."""
    head = {name: w for name, w in adapted.items() if name.startswith("head.")}
    return merged(frozen, adapted, scale) | head


def _predictor(network: Network, full: Callable[[Weights], Weights], adapted: Weights) -> Predictor:
    return Predictor(network, full(adapted))
