"""LoRA: fine-tuning by low-rank updates of frozen weights.

Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang and Chen 2021, arXiv:2106.09685, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Annotated, Unpack

from annotated_types import Ge, Gt

from coldstart_cli.core.tasks import Adapted, Strategy, Support, TaskSource
from coldstart_cli.models.low_rank import check_rank, low_rank, matrices, merged
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.strategies.building_blocks.source_classifier import (
    FineTuning,
    descended,
    fit_classifier,
    for_task,
    network_loss,
    rule_of,
    weights_of,
)
from coldstart_cli.training.inner_loop import Weights
from coldstart_cli.training.optimizers import OptimizerFactory


class LoRA(Strategy):
    """Trains a source classifier, then adapts low-rank updates of the encoder's weights, and the head.

    W' = W + (alpha / rank) B A for each of `models.lora.matrices`; biases, norms and embeddings stay. The
    predictor has W', so that inference costs nothing more. The paper updates a transformer's attention
    weights, here every matrix of any encoder. The head is as in fine-tuning, see `for_task`.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        source_training: learn from the source first; otherwise the encoder is updated as it is given, which
            suits pretrained ones.
        rank: of the updates, at most the smaller side of every matrix.
        alpha: the updates are scaled by alpha / rank.
        support_batch_size: support examples in a step of adaptation, drawn epoch after epoch; None for all.
        tuning: see `FineTuning`.

    Raises:
        ValueError: where the rank is above the smaller side of a matrix.
    """

    replayable = False  # it draws the first low-rank factors

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
        support_batch_size: Annotated[int, Ge(1)] | None,
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        check_rank(rank, matrices(encoder))
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.source_training = source_training
        self.learns_from_source, self.needs_labels = source_training, not source_training
        self.seed, self.rank, self.alpha = seed, rank, alpha
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
        frozen = {f"encoder.{name}": w.detach() for name, w in matrices(network.encoder).items()}
        # By the support's seed: a task starts from the same factors whenever it is adapted to.
        start = low_rank(frozen, self.rank, support.seed) | weights_of(network, "head.")
        full = partial(_full, frozen, self.alpha / self.rank)
        task_loss = network_loss(network, support, self.support_batch_size)
        rule = rule_of(self.tuning)
        for changed in descended(lambda adapted: task_loss(full(adapted)), start, rule, support):
            yield Adapted(partial(_predictor, network, full, changed), changed)


def _full(frozen: Weights, scale: float, adapted: Weights) -> Weights:
    """Of factors and head, the weights that the network reads."""
    head = {name: w for name, w in adapted.items() if name.startswith("head.")}
    return merged(frozen, adapted, scale) | head


def _predictor(network: Network, full: Callable[[Weights], Weights], adapted: Weights) -> Predictor:
    return Predictor(network, full(adapted))
