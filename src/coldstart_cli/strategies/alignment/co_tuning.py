"""Co-tuning: the source's head keeps learning, from what it takes the task's classes to be.

You, Kou, Long and Wang 2020, "Co-Tuning for Transfer Learning" (NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, below, linear_head
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.building_blocks.source_classifier import (
    FineTuning,
    fit_classifier,
    head_for,
    rule_of,
)
from coldstart_cli.strategies.building_blocks.two_domains import source_outputs
from coldstart_cli.training.inner_loop import Weights, descend
from coldstart_cli.training.optimizers import OptimizerFactory


class CoTuning(Strategy):
    """Fine-tuning whose source head learns the source classes that each of the task's classes resembles.

    Loss of a step: CE(head(f), y_t) + weight * CE(source head(f), p(y_s | y_t)) (equation 3), with the
    category relationship p(y_s | y_t) = mean over the class's examples of the source model's softmax: the
    direct approach of section 3.2. Departures: its calibration, a temperature found on source data that
    the model has not seen, is a value here; the reverse approach needs more labels than a cold start has.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        weight: of the source head's loss.
        temperature: of the softmax that the relationship is read from.
        tuning: see `FineTuning`; each step is on the whole support set.
    """

    needs_classes = True
    lowers_distance_by, replayable = "weight", False
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        weight: Annotated[float, Ge(0)],
        temperature: Annotated[float, Gt(0)],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.seed, self.weight, self.temperature, self.tuning = seed, weight, temperature, tuning
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
        """Notes `relationship max`, the share of the source class each class resembles most, on average.

        And `distance`: the mean KL(p(y_s | y_t) || source head's softmax) over the support set, which the
        second loss lowers.
        """
        network = Network(self.network.encoder, head_for(support, self.network.head, keep=True))
        with torch.no_grad():
            # Of the source model as it is before any step: the relationship must not chase what it teaches.
            outputs = self.network(support.inputs)
        relationship = category_relationship(
            outputs, support.targets, support.objective.n_outputs, self.temperature
        )
        strongest = float(relationship.amax(-1).mean())
        soft = relationship[support.targets]
        weights = dict(network.named_parameters())
        # It descends with the rest, but only encoder and `head.*` become the predictor.
        weights |= {f"source_head.{name}": w for name, w in self.network.head.named_parameters()}

        def loss(weights: Weights) -> Tensor:
            features = network.features(weights, support.inputs)
            own = support.objective.loss(network.from_features(weights, features), support.targets)
            # With soft targets cross_entropy is H(soft, softmax), the KL of the note plus a constant.
            of_source = F.cross_entropy(source_outputs(weights, features), soft)
            return own + self.weight * of_source

        rule = rule_of(self.tuning)
        moving = {name: w.detach().requires_grad_() for name, w in weights.items()}
        for adapted in descend(loss, moving, rule, second_order=False):
            changed = {f"encoder.{name}": w.detach() for name, w in below("encoder.", adapted).items()}
            changed |= {f"head.{name}": w.detach() for name, w in below("head.", adapted).items()}
            with torch.no_grad():
                said = source_outputs(adapted, network.features(adapted, support.inputs)).log_softmax(-1)
                distance = float(F.kl_div(said, soft, reduction="batchmean"))
            notes = {"distance": distance, "relationship max": strongest}
            yield Adapted(partial(Predictor, network, changed), changed, notes)


def category_relationship(outputs: Tensor, targets: Tensor, n_way: int, temperature: float) -> Tensor:
    """p(y_s | y_t): the mean softmax of each class, (n, n_source), (n,) -> (n_way, n_source)."""
    return prototypes((outputs / temperature).softmax(-1), targets, n_way)
