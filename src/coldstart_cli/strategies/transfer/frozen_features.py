"""Classical classifiers on frozen features of a source classifier: no gradient step on the encoder.

- Nearest centroid: SimpleShot, Wang, Chao, Weinberger and van der Maaten 2019, arXiv:1911.04623.
- Logistic regression: RFS, Tian, Wang, Krishnan, Tenenbaum and Isola 2020, arXiv:2003.11539.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Annotated, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Len
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Inputs, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, linear_head
from coldstart_cli.strategies.building_blocks.centred import Centred
from coldstart_cli.strategies.building_blocks.logistic_regression import logistic_regression
from coldstart_cli.strategies.building_blocks.names import Known, Named, ablations_of_names, known
from coldstart_cli.strategies.building_blocks.prototypes import NearestCentroidPredictor, prototypes
from coldstart_cli.strategies.building_blocks.source_classifier import fit_classifier, fit_with_mean
from coldstart_cli.training.cross_validation import Indices, to_select
from coldstart_cli.training.inner_loop import canonical_order
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.randomness import step_seed


class NearestCentroid(Strategy):
    """Trains a source classifier, then predicts the class whose support examples' mean feature is nearest.

    SimpleShot's UN, L2N and CL2N (section 3) are the Euclidean distance with neither, with `normalise`, and
    with both `normalise` and `centre`. The mean of the source's features is a running mean over training
    batches, as in batch norm: the paper takes it over all training examples, once training has ended.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        batch_size: source examples in one outer step.
        distance: `euclidean`, squared, or `cosine`, one minus the cosine of feature and centroid.
        centre: subtract the mean of the source's features first.
        normalise: then scale every feature to length 1.
        temperature: that distances are divided by.
        named: see `Named`; names are centred and scaled as examples are.
    """

    needs_classes = True
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
        distance: Literal["euclidean", "cosine"],
        centre: bool,
        normalise: bool,
        temperature: Annotated[float, Gt(0)],
        **named: Unpack[Named],
    ) -> None:
        super().__init__()
        head = linear_head(encoder.feature_dim, n_source_outputs)
        # With `centre` the head trains even over a frozen encoder: the steps are needed to observe the
        # mean.
        self.network = Network(encoder, head if centre else useful_head(encoder, head))
        self.seed, self.batch_size = seed, batch_size
        self.distance, self.centre, self.normalise = distance, centre, normalise
        self.temperature, self.named, self.reads_names = temperature, named, named["name_weight"] > 0
        self.optimizer = optimizer(self.parameters())
        self.register_buffer("source_mean", torch.zeros(encoder.feature_dim))

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        """Keeps the mean even where it is not used, so that an evaluation can ask for it later."""
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
        """Yields once: there is no step to take."""
        mean = self.source_mean.clone() if self.centre else None
        encoder = Centred(self.network.encoder, mean, normalise=self.normalise)
        with torch.no_grad():
            own = known(encoder, support, self.named)
            centroids = prototypes(own.features, own.targets, support.objective.n_outputs, own.weights)
        build = partial(NearestCentroidPredictor, encoder, centroids, self.distance, self.temperature)
        yield Adapted(build, {"centroids": centroids})

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        return ablations_of_names(self.adapt, support, self.named)


class Logistic(Strategy):
    """Trains a source classifier, then solves a logistic regression on frozen features of the support set.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        batch_size: source examples in one outer step.
        C: inverse strength of the penalty; see `logistic_regression`.
        C_search: values of C of which cross-validation on the support set chooses for each task, where it has
            two labels of every class; None for `C` always.
        normalise: scale every feature to length 1, as in RFS.
        named: see `Named`; a name's loss is weighted by it.
    """

    needs_classes = True
    replayable = False  # Newton's method decides by values when to stop
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        batch_size: Annotated[int, Ge(1)],
        C: Annotated[float, Gt(0)],
        C_search: Annotated[list[Annotated[float, Gt(0)]], Len(1)] | None,
        normalise: bool,
        **named: Unpack[Named],
    ) -> None:
        super().__init__()
        head = useful_head(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.network = Network(encoder, head)
        self.seed, self.batch_size, self.normalise = seed, batch_size, normalise
        self.C, self.C_search = C, C_search
        self.named, self.reads_names = named, named["name_weight"] > 0
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_classifier(
            self.network, source, self.optimizer, batch_size=self.batch_size, seed=self.seed, start=start
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: the solution does not depend on where the solver starts."""
        encoder = Centred(self.network.encoder, None, normalise=self.normalise)
        with torch.no_grad():
            own = known(encoder, support, self.named)
        C, n_way = self.C, support.objective.n_outputs
        if self.C_search is not None:
            ordered = canonical_order(support)  # the folds do not depend on the order that examples came in
            names = torch.arange(len(support), len(own.features), device=ordered.device)
            ordered = torch.cat([ordered, names])
            C = chosen_C(_taken(own, ordered), n_way, self.C_search, support.seed) or C
        weight, bias = logistic_regression(own.features, own.targets, n_way, C, own.weights)
        build = partial(LinearPredictor, encoder, weight, bias)
        # Whatever chose it is noted: it may differ from task to task.
        notes = {} if self.C_search is None else {"C": C}
        yield Adapted(build, {"head.weight": weight, "head.bias": bias}, notes)

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        return ablations_of_names(self.adapt, support, self.named)


def useful_head(encoder: Encoder, head: nn.Linear) -> nn.Linear:
    """The source head, which learns only if an encoder is trained through it: it has no other use."""
    return head.requires_grad_(any(p.requires_grad for p in encoder.parameters()))


class LinearPredictor(nn.Module):
    """Logits are x W^T + b of features x, with W (n_way, feature_dim) and b (n_way,)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, encoder: nn.Module, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, inputs: Inputs) -> Tensor:
        return F.linear(self.encoder(inputs), self.weight, self.bias)


def chosen_C(own: Known, n_classes: int, candidates: Sequence[float], seed: int) -> float | None:
    """The candidate with the largest mean log-likelihood of the labels held out, in up to five folds.

    Of likelihoods rather than right answers, which at a few labels tie. None where a class has one label.
    Names are never held out: every fold learns from all of them.
    """
    n = len(own.features) - own.n_names
    features, targets = own.features, own.targets[:n]
    if int(targets.bincount(minlength=n_classes).min()) < 2:
        return None

    def score(seen: Indices, held_out: Indices) -> dict[str, float]:
        part, rest = (torch.from_numpy(ids).to(targets.device) for ids in (seen, held_out))
        names = torch.arange(n, len(features), device=targets.device)
        learned = _taken(own, torch.cat([part, names]))
        solved = {
            C: logistic_regression(learned.features, learned.targets, n_classes, C, learned.weights)
            for C in candidates
        }
        return {
            str(C): -float(F.cross_entropy(F.linear(features[rest], weight, bias), targets[rest]))
            for C, (weight, bias) in solved.items()
        }

    labels = targets.cpu().numpy()
    found = to_select(score, labels, max_folds=5, seed=step_seed(seed, 0), higher_is_better=True)
    return None if found is None else float(found)


def _taken(own: Known, rows: Tensor) -> Known:
    weights = None if own.weights is None else own.weights[rows]
    return Known(own.features[rows], own.targets[rows], weights, own.n_names)
