"""Task alignment: a separate model learns which source classes resemble a new task's, and steers by them.

Three models. The source model is a classifier of all source classes, frozen after its training. The target
model starts as its copy and learns further. The alignment model reads the features that both give a class,
attends to the source classes and says where in the target model's space the class should be.

Our own combination. The classifier is that of Snell, Swersky and Zemel 2017, arXiv:1703.05175, equation 8;
moving few examples' mean towards similar source classes follows Yang, Liu and Xu 2021, arXiv:2101.06395.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.tasks import (
    Adapted,
    Examples,
    Inputs,
    Objective,
    Pool,
    Strategy,
    Support,
    TaskSource,
    joined,
    n_examples,
)
from coldstart_cli.models.alignment import AlignmentModel, Knowledge
from coldstart_cli.models.network import Encoder, Network, Predictor, below, blank_head, linear_head
from coldstart_cli.strategies.building_blocks.discrepancy import squared_distances
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.building_blocks.source_classifier import FineTuning, fit_classifier, rule_of
from coldstart_cli.training.inner_loop import Weights, descend
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic, in_turn

READ_AT_ONCE = 512
"""Number of source examples whose features are computed together."""


class Align(Strategy):
    """Trains the source model, freezes it, then learns target and alignment model on source tasks.

    A task's classifier has w_c = 2 u_c, b_c = -|u_c|^2 with u_c = (1 - beta_c) t_c + beta_c v_c. In training
    each class's nearest source class by the source's features, which is itself, is hidden from it, so
    that resemblance to other classes is learned. On a new task gradient steps then lower
    CE + weight * distance over target model and head, where distance = mean_c |t_c - v_c|^2 / mean_c |v_c|^2,
    v as it was before the first step. It notes `distance`, `beta`, `attention max`, and the attention that
    each group of source classes receives, where the data have groups. The predictor before the first step
    is made of the support set.

    Args:
        encoder, optimizer, n_source_outputs, source_groups, n_steps, vectorize, seed: from the run.
        source_share: of the outer steps, for the source model.
        meta_batch_size: tasks in one outer step of the target and alignment models.
        weight: of the distance.
        tuning: see `FineTuning`; the outer steps it names are the source model's, and each step of
            adaptation is on the whole support set.
    """

    needs_classes = True
    starts_from_support = True
    lowers_distance_by, replayable = "weight", False
    known: Tensor

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        source_groups: tuple[str, ...],
        n_steps: int,
        vectorize: bool,
        seed: int,
        *,
        source_share: Annotated[float, Gt(0), Lt(1)],
        meta_batch_size: Annotated[int, Ge(1)],
        weight: Annotated[float, Ge(0)],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        # Now rather than after the first phase: the optimizer needs its parameters.
        self.target = copy.deepcopy(encoder)
        self.alignment = AlignmentModel(encoder.feature_dim)
        self.register_buffer("known", torch.zeros(n_source_outputs, encoder.feature_dim))
        self.source_groups, self.n_steps, self.vectorize, self.seed = source_groups, n_steps, vectorize, seed
        self.source_share, self.meta_batch_size = source_share, meta_batch_size
        self.weight, self.tuning = weight, tuning
        self.source_optimizer = optimizer(self.network.parameters(), share=source_share)
        learning = [*self.target.parameters(), *self.alignment.parameters()]
        self.optimizer = optimizer(learning, share=1 - source_share)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        # At least one step: without it the source model knows no classes.
        n_source_steps = max(1, round(self.source_share * self.n_steps))
        phases = [
            (n_source_steps, partial(self._fit_source, source)),
            (self.n_steps, partial(self._fit_alignment, source)),
        ]
        return in_turn(phases, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        start = {f"encoder.{name}": w.detach() for name, w in self.target.named_parameters()}
        network = Network(self.target, blank_head(self.target.feature_dim, support.objective.n_outputs))
        with torch.no_grad():
            features = self.target(support.inputs)
            of_source = self.network.encoder(support.inputs)
            said, means = self._said(
                dict(self.alignment.named_parameters()),
                of_source,
                features,
                support.targets,
                support.objective.n_outputs,
                hide=False,
            )
            head = nearest_head(means, said)
        # The distance is in units of the points' own size, so that `weight` means the same for every
        # encoder.
        size = said.points.pow(2).sum(-1).mean()
        unit = torch.where(size > 0, size, 1)  # before training all points are 0

        def distance(features: Tensor) -> Tensor:
            means = prototypes(features, support.targets, support.objective.n_outputs)
            return (means - said.points).pow(2).sum(-1).mean() / unit

        def loss(weights: Weights) -> Tensor:
            features = network.features(weights, support.inputs)
            outputs = network.from_features(weights, features)
            return support.objective.loss(outputs, support.targets) + self.weight * distance(features)

        moving = {name: w.detach().requires_grad_() for name, w in (start | head).items()}
        rule = rule_of(self.tuning)
        for adapted in descend(loss, moving, rule, second_order=False):
            with torch.no_grad():
                now = float(distance(network.features(adapted, support.inputs)))
            changed = {name: w.detach() for name, w in adapted.items()}
            notes = {"distance": now, **self._notes(said)}
            yield Adapted(partial(Predictor, network, changed), changed, notes)

    def _fit_source(self, source: TaskSource, start: int) -> Iterator[dict[str, float]]:
        steps = fit_classifier(
            self.network,
            source,
            self.source_optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            start=start,
        )
        for metrics in steps:
            yield {f"source_{name}": value for name, value in metrics.items()}

    def _fit_alignment(self, source: TaskSource, start: int) -> Iterator[dict[str, float]]:
        if start == 0:
            # Only at the first step of the phase: a resumed run has both from its checkpoint.
            self.target.load_state_dict(self.network.encoder.state_dict())
            self.known.copy_(class_means(Predictor(self.network.encoder, {}), source.pool("train")))
        weights = {f"target.{name}": w for name, w in self.target.named_parameters()}
        weights |= {f"alignment.{name}": w for name, w in self.alignment.named_parameters()}
        yield from episodic(
            # The frozen source model reads as it does on new tasks, whatever mode the strategy is in.
            partial(self._task_loss, Predictor(self.network.encoder, {})),
            weights,
            source,
            self.optimizer,
            meta_batch_size=self.meta_batch_size,
            vectorize=self.vectorize,
            start=start,
        )

    def _task_loss(
        self,
        source_model: nn.Module,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """The loss on the query set of the classifier that the support set and the source give."""
        score = each(partial(self._scores, source_model, objective))
        scores: dict[str, Tensor] = score(
            weights, support.inputs, support.targets, query.inputs, query.targets
        )
        return scores

    def _scores(
        self,
        source_model: nn.Module,
        objective: Objective,
        weights: Mapping[str, Tensor],
        support: Inputs,
        support_targets: Tensor,
        query: Inputs,
        query_targets: Tensor,
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            of_source = source_model(support)
        features = functional_call(self.target, below("target.", weights), (joined(support, query),))
        n = n_examples(support)
        said, means = self._said(
            below("alignment.", weights),
            of_source,
            features[:n],
            support_targets,
            objective.n_outputs,
            hide=True,
        )
        head = nearest_head(means, said)
        outputs = F.linear(features[n:], head["head.weight"], head["head.bias"])
        return {
            "loss": objective.loss(outputs, query_targets),
            **objective.metrics(outputs.detach(), query_targets),
            "beta": said.beta.detach().mean(),
        }

    def _said(
        self,
        weights: Mapping[str, Tensor],
        of_source: Tensor,
        features: Tensor,
        targets: Tensor,
        n_way: int,
        *,
        hide: bool,
    ) -> tuple[Knowledge, Tensor]:
        """What the alignment model says, and the class means t (n_way, feature_dim) in the target model."""
        source_means = prototypes(of_source, targets, n_way)
        means = prototypes(features, targets, n_way)
        counts = one_hot(targets, n_way).sum(0)
        # In training a task's class is a source class, and attending to itself would teach nothing.
        hidden = nearest(source_means, self.known) & hide
        said: Knowledge = functional_call(
            self.alignment, dict(weights), (source_means, means, counts, self.known, hidden)
        )
        return said, means

    def _notes(self, said: Knowledge) -> dict[str, float]:
        """Notes on the whole task: means over its classes."""
        attention = said.attention.mean(0)
        notes = {
            "beta": float(said.beta.mean()),
            "attention max": float(said.attention.amax(-1).mean()),
        }
        for group in sorted(set(self.source_groups)):
            members = [name == group for name in self.source_groups]
            notes[f"attention to {group}"] = float(attention[members].sum())
        return notes


def nearest_head(means: Tensor, said: Knowledge) -> Weights:
    """The linear head of the nearest u_c = (1 - beta_c) t_c + beta_c v_c: -|f - u|^2 but for |f|^2."""
    beta = said.beta.unsqueeze(1)
    points = (1 - beta) * means + beta * said.points
    return {"head.weight": 2 * points, "head.bias": -points.pow(2).sum(-1)}


def nearest(means: Tensor, known: Tensor) -> Tensor:
    """(n_way, n_source) bool: for each of the means, the one source class that is nearest."""
    return one_hot(squared_distances(means, known).argmin(-1), len(known)).bool()


@torch.no_grad()
def class_means(encoder: nn.Module, pool: Pool) -> Tensor:
    """The mean feature of each class of the pool, (n_source, feature_dim); 0 for a class without examples."""
    device = next(encoder.parameters()).device
    sums: Tensor | float = 0.0
    counts: Tensor | float = 0.0
    # In parts, so that memory does not grow with the pool.
    for first in range(0, len(pool), READ_AT_ONCE):
        indices = torch.arange(first, min(first + READ_AT_ONCE, len(pool)))
        examples = pool.examples(indices).to(device)
        features = encoder(examples.inputs)
        members = one_hot(examples.targets, pool.objective.n_outputs).to(features.dtype)
        sums, counts = sums + members.T @ features, counts + members.sum(0)
    assert isinstance(sums, Tensor) and isinstance(counts, Tensor)
    # Sums and counts rather than means of means: batches hold different numbers of each class.
    return sums / counts.clamp(min=1).unsqueeze(1)
