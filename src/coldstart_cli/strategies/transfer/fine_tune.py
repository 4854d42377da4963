"""Transfer learning: a source classifier's weights are where the new task's network starts.

- Fine-tuning and linear probing as in Chen, Liu, Kira, Wang and Huang 2019, arXiv:1904.04232 (section 3.2,
  "Baseline"), and Kornblith, Shlens and Le 2019, arXiv:1805.08974. Without source training it is
  `scratch`, the baseline that every transfer gain is measured against.
- LP-FT: Kumar, Raghunathan, Jones, Ma and Liang 2022, arXiv:2202.10054, section 3.4.
- L2-SP: Li, Grandvalet and Davoine 2018, arXiv:1802.01483, equation 2.

The new task's head starts at zero; where its outputs are outputs of the source (domain shift, regression), at
the source head's rows, and a task without labels then has the source model as it is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Annotated, Literal, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.strategies.building_blocks.source_classifier import (
    FineTuning,
    descended,
    fit_classifier,
    for_task,
    head_loss,
    network_loss,
    rule_of,
    weights_of,
)
from coldstart_cli.training.inner_loop import Weights, rule_named
from coldstart_cli.training.optimizers import OptimizerFactory


class FineTune(Strategy):
    """Trains encoder and head on all source examples, then takes gradient steps on the new task.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        source_training: learn from the source at all; otherwise the encoder keeps its random initial
            weights, which all tasks share.
        trainable: what adaptation changes: all weights, or the head on frozen features.
        support_batch_size: support examples in a step of adaptation, drawn epoch after epoch; None for all.
        tuning: see `FineTuning`.
    """

    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        source_training: bool,
        trainable: Literal["all", "head"],
        support_batch_size: Annotated[int, Ge(1)] | None,
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.seed, self.source_training, self.tuning = seed, source_training, tuning
        # Without source training there is no source model that could serve a task without labels.
        self.learns_from_source, self.needs_labels = source_training, not source_training
        self.trainable, self.support_batch_size = trainable, support_batch_size
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
        """Yields after every step; only once, the unchanged source model, where there are no labels."""
        network = for_task(self.network, support, keep_head=self.source_training)
        if self.trainable == "all":
            loss, start = network_loss(network, support, self.support_batch_size), weights_of(network)
        else:
            loss = head_loss(network, support, self.support_batch_size)
            start = weights_of(network, "head.")
        rule = rule_of(self.tuning)
        for changed in descended(loss, start, rule, support):
            yield Adapted(partial(Predictor, network, changed), changed)


class LPFT(Strategy):
    """Probes, then fine-tunes: the head learns on frozen features first, so that it distorts them less.

    As in the paper, each phase has its own learning rate. The paper probes until convergence, here it is
    for a number of steps; the momentum of the second phase starts anew.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        probe_steps: steps of the head alone; all later ones move all weights.
        probe_lr: learning rate of these steps, on the whole support set as all.
        tuning: see `FineTuning`; its learning rate is that of the later steps.
    """

    needs_labels = False
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        probe_steps: Annotated[int, Ge(1)],
        probe_lr: Annotated[float, Gt(0)],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.seed, self.probe_steps, self.probe_lr, self.tuning = seed, probe_steps, probe_lr, tuning
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_classifier(
            self.network,
            source,
            self.optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step of both phases: item n after n steps in all."""
        network = for_task(self.network, support)
        changed = weights_of(network, "head.")
        probe = rule_named(self.tuning["rule"], self.probe_lr, self.tuning["momentum"])
        steps = descended(head_loss(network, support), changed, probe, support)
        for changed in islice(steps, self.probe_steps + 1):
            yield Adapted(partial(Predictor, network, changed), changed)
        start = weights_of(network) | changed
        rule = rule_of(self.tuning)
        # Its first item, before any step, equals the last one of the probe.
        for changed in islice(descended(network_loss(network, support), start, rule, support), 1, None):
            yield Adapted(partial(Predictor, network, changed), changed)


class L2SP(Strategy):
    """Fine-tunes with a penalty that pulls the weights towards the source's instead of towards zero.

    The loss is L(w) + alpha / 2 |w_S - w_S^0|^2 + beta / 2 |w_N|^2: w_S are the parameters that the task
    shares with the source network, w_S^0 where they start, w_N those that are new. A new head is w_N; a
    head that was kept is of the source network, so of w_S. The equation's w is all parameters that
    adapt, and so are biases and norms here; the authors' code leaves them out unless asked.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        alpha: strength of the pull to the starting point.
        beta: strength of a new head's pull to zero.
        tuning: see `FineTuning`; each step is on the whole support set.
    """

    needs_labels = False
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        alpha: Annotated[float, Ge(0)],
        beta: Annotated[float, Ge(0)],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.seed, self.alpha, self.beta, self.tuning = seed, alpha, beta, tuning
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_classifier(
            self.network,
            source,
            self.optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; only once, the unchanged source model, where there are no labels."""
        network = for_task(self.network, support)
        start, task_loss = weights_of(network), network_loss(network, support)
        kept = start if support.source_classes is not None else weights_of(network, "encoder.")

        def loss(weights: Weights) -> Tensor:
            return task_loss(weights) + starting_point_penalty(weights, kept, self.alpha, self.beta)

        rule = rule_of(self.tuning)
        for changed in descended(loss, start, rule, support):
            yield Adapted(partial(Predictor, network, changed), changed)


def starting_point_penalty(
    weights: Mapping[str, Tensor], start: Mapping[str, Tensor], alpha: float, beta: float
) -> Tensor:
    """alpha / 2 |w - w^0|^2 over the weights that `start` has, beta / 2 |w|^2 over the others: a scalar."""
    terms = [
        alpha / 2 * (w - start[name]).square().sum() if name in start else beta / 2 * w.square().sum()
        for name, w in weights.items()
    ]
    return torch.stack(terms).sum()
