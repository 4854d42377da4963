"""Soft k-means: class means refined by unlabelled examples, on features of a source classifier.

Ren et al. 2018, arXiv:1803.00676, section 3.1.1 and equations 3 and 4, at test time ("semi-supervised
inference", section 5.1), on the centred features of SimpleShot, Wang et al. 2019, arXiv:1911.04623.
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
from coldstart_cli.models.alignment import refined
from coldstart_cli.models.network import Encoder, Network, linear_head
from coldstart_cli.strategies.building_blocks.centred import Centred
from coldstart_cli.strategies.building_blocks.names import Named, ablations_of_names, class_sums, known
from coldstart_cli.strategies.building_blocks.source_classifier import fit_with_mean
from coldstart_cli.strategies.transfer.frozen_features import LinearPredictor
from coldstart_cli.training.optimizers import OptimizerFactory


class SoftKMeans(Strategy):
    """Trains a source classifier, then alternates on a new task between soft classes and class means.

    r_ic = pi_c exp(scale * cos(x_i, u_c)) / sum_c' pi_c' exp(scale * cos(x_i, u_c')), and u_c is where
    n_c m_c + unlabelled_weight * sum_i r_ic x_i points: equation 4. Departures: cosines of centred features
    instead of distances; each step is one more of the paper's rounds, which takes one; and pi, uniform in the
    paper, is estimated from the unlabelled examples, so that no class need be as frequent as another. It
    notes `distance`, the mean of 1 - sum_c r_ic cos(x_i, u_c).

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        batch_size: source examples in one outer step.
        scale: of the cosines.
        unlabelled_weight: what an unlabelled example counts beside a labelled one; 1 in the paper.
        named: see `Named`; the paper reads no names.
    """

    needs_classes = True
    needs_unlabelled = True
    starts_from_support = True
    lowers_distance_by, replayable = "unlabelled_weight", False
    source_mean: Tensor
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        batch_size: Annotated[int, Ge(1)],
        scale: Annotated[float, Gt(0)],
        unlabelled_weight: Annotated[float, Gt(0)],
        **named: Unpack[Named],
    ) -> None:
        super().__init__()
        # The head trains even over a frozen encoder: the steps are needed to observe the mean.
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.seed, self.batch_size, self.scale = seed, batch_size, scale
        self.unlabelled_weight = unlabelled_weight
        self.named, self.reads_names = named, named["name_weight"] > 0
        self.optimizer = optimizer(self.parameters())
        self.register_buffer("source_mean", torch.zeros(encoder.feature_dim))

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_with_mean(
            self.network,
            source,
            self.optimizer,
            self.source_mean,
            batch_size=self.batch_size,
            seed=self.seed,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields the nearest centroid, then after each round."""
        assert support.unlabelled is not None, "needs_unlabelled"
        encoder = Centred(self.network.encoder, self.source_mean.clone(), normalise=True)
        with torch.no_grad():
            own, free = known(encoder, support, self.named), encoder(support.unlabelled)
        total = class_sums(own, support.objective.n_outputs)
        step = partial(refined, total, free, None, each=self.unlabelled_weight, scale=self.scale)
        moved, rounds = total, 0
        while True:
            weight = self.scale * F.normalize(moved, dim=-1)
            head = {"head.weight": weight, "head.bias": weight.new_zeros(len(weight))}
            moved, soft = step(rounds=rounds + 1)
            distance = float(1 - (soft * (free @ weight.T)).sum(-1).mean() / self.scale)
            build = partial(LinearPredictor, encoder, *head.values())
            yield Adapted(build, head, {"distance": distance})
            rounds += 1

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        return ablations_of_names(self.adapt, support, self.named)
