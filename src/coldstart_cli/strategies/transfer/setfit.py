"""SetFit: contrastive fine-tuning of an encoder on pairs of labelled examples, then a logistic head.

Tunstall, Reimers, Jo, Bates, Korat, Wasserblat and Pereg 2022, arXiv:2209.11055, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from functools import partial
from itertools import islice
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource, map_inputs
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head, tree_of
from coldstart_cli.strategies.building_blocks.centred import Centred
from coldstart_cli.strategies.building_blocks.logistic_regression import logistic_regression
from coldstart_cli.strategies.building_blocks.source_classifier import descended, fit_classifier, weights_of
from coldstart_cli.strategies.transfer.frozen_features import LinearPredictor
from coldstart_cli.training.inner_loop import Weights, adam, canonical
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.randomness import step_seed
from coldstart_cli.training.schedules import lr_factor


class SetFit(Strategy):
    """Moves examples of one class together and of two classes apart, then solves a logistic regression.

    A step minimises the mean of (cos(f(x_i), f(x_j)) - s_ij)^2 over a batch of pairs (i, j), where s_ij is 1
    for two examples of one class and 0 otherwise. With n labels there are 2 * iterations * n pairs, each is
    used once, and the adaptation ends: after ceil(2 * iterations * n / pair_batch_size) steps. The rate rises
    linearly over the first `warmup` of them, and falls to zero.

    A class with one label has no pair but that of the example with itself, whose similarity is 1 whatever the
    weights: only other classes' examples teach it. The note `classes of one label` counts such classes.

    As the authors' code for the paper, but for: no dropout, because pretrained encoders are always in
    evaluation mode here; no decay of weights; no clipping of gradients; the first step's rate is above zero.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        source_training: train a source classifier first; otherwise the encoder is tuned as it is given, as in
            the paper, which suits pretrained ones.
        batch_size: source examples in one outer step.
        iterations: pairs of each kind that each labelled example begins, R in the paper.
        pair_batch_size: pairs in a step of adaptation.
        lr: peak rate of Adam.
        warmup: share of the steps over which the rate rises.
        C: inverse strength of the head's penalty; see `building_blocks.logistic_regression`.
        normalise: scale every feature to length 1 before the head.

    Raises:
        ValueError: where the encoder is frozen.
    """

    needs_classes = True
    starts_from_support = True  # the head is solved on it before the first step
    replayable = False  # it draws pairs, and its head decides by values when to stop
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        source_training: bool,
        batch_size: Annotated[int, Ge(1)],
        iterations: Annotated[int, Ge(1)],
        pair_batch_size: Annotated[int, Ge(1)],
        lr: Annotated[float, Gt(0)],
        warmup: Annotated[float, Ge(0), Le(1)],
        C: Annotated[float, Gt(0)],
        normalise: bool,
    ) -> None:
        super().__init__()
        if not any(parameter.requires_grad for parameter in encoder.parameters()):
            raise ValueError(
                "it moves the weights of the encoder and this one is frozen; choose one that is not "
                "(model=minilm, or model.frozen=false), or strategy=logistic"
            )
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.seed, self.source_training, self.batch_size = seed, source_training, batch_size
        self.learns_from_source = source_training
        self.iterations, self.pair_batch_size = iterations, pair_batch_size
        self.lr, self.warmup, self.C, self.normalise = lr, warmup, C, normalise
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        if not self.source_training:
            return iter(())
        return fit_classifier(
            self.network, source, self.optimizer, batch_size=self.batch_size, seed=self.seed, start=start
        )

    def last_step(self, support: Support) -> int:
        return math.ceil(2 * self.iterations * len(support) / self.pair_batch_size)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; `changed` are the encoder's weights.

        The head is solved within the first item and the last. In between, where predictors draw a curve, it
        is solved when one is built, and is no part of the time of adaptation.
        """
        encoder = Centred(self.network.encoder, None, normalise=self.normalise)
        lone = int((support.targets.bincount() == 1).sum())
        ordered = canonical(support)
        pairs = drawn_pairs(ordered.targets.cpu(), self.iterations, step_seed(support.seed, 0))
        batches = iter(torch.split(pairs.to(ordered.targets.device), self.pair_batch_size))
        n_steps = math.ceil(len(pairs) / self.pair_batch_size)

        def loss(weights: Weights) -> Tensor:
            batch = next(batches)
            # An example that is in several pairs of the batch is encoded once.
            used, places = torch.unique(batch[:, :2], return_inverse=True)
            inputs = map_inputs(lambda t: t[used], ordered.inputs)
            features: Tensor = functional_call(encoder, weights, (inputs,))
            return cosine_similarity_loss(features, places, batch[:, 2])

        rate = partial(lr_factor, n_steps=n_steps, schedule="linear", warmup=self.warmup)
        rule = adam(lambda step: self.lr * rate(step), beta1=0.9)
        steps = descended(loss, weights_of(self.network, "encoder."), rule, support)
        for step, weights in enumerate(islice(steps, n_steps + 1)):
            classifier = partial(_classifier, encoder, weights, support, self.C)
            build = partial(tree_of, classifier()) if step in (0, n_steps) else classifier
            yield Adapted(build, weights, {"classes of one label": lone} if lone else {})


def drawn_pairs(targets: Tensor, iterations: int, seed: int) -> Tensor:
    """Pairs in random order, (2 * iterations * n, 3): two indices, and 1 where they are of one class.

    Each example begins `iterations` pairs with partners from all of its class, itself included, and as many
    with partners from all other classes, as in the authors' code; the paper draws R of each kind for a class.
    """
    generator = torch.Generator().manual_seed(seed)
    alike = targets.unsqueeze(0) == targets.unsqueeze(1)
    first = torch.arange(len(targets)).repeat_interleave(iterations)
    drawn = [
        torch.stack([first, _partners(which, iterations, generator), torch.full_like(first, same)], 1)
        for same, which in ((1, alike), (0, ~alike))
        # With labels of one class alone there is nothing to tell apart.
        if which.any()
    ]
    pairs = torch.cat(drawn)
    return pairs[torch.randperm(len(pairs), generator=generator)]


def cosine_similarity_loss(features: Tensor, pairs: Tensor, same: Tensor) -> Tensor:
    """The mean of (cos(f_i, f_j) - s_ij)^2, a scalar.

    Args:
        features: (n, feature_dim).
        pairs: (n_pairs, 2) indices i and j.
        same: (n_pairs,) s_ij, 1 for a pair of one class and 0 otherwise.
    """
    similarity = F.cosine_similarity(features[pairs[:, 0]], features[pairs[:, 1]])
    return F.mse_loss(similarity, same.to(similarity.dtype))


def _partners(which: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n columns that are true in each row of (rows, columns), drawn with replacement: (rows * n,)."""
    return torch.multinomial(which.double(), n, replacement=True, generator=generator).flatten()


def _classifier(encoder: Centred, weights: Weights, support: Support, C: float) -> LinearPredictor:
    """The encoder with these weights, under a head that is solved on the support set."""
    tuned = Predictor(encoder, weights)
    with torch.no_grad():
        features = tuned(support.inputs)
    return LinearPredictor(
        tuned, *logistic_regression(features, support.targets, support.objective.n_outputs, C)
    )
