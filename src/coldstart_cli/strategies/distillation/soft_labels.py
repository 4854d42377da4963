"""Gradient steps of one network on a task, as a student and its teacher take them side by side.

Like the fine-tuning of strategies.transfer, with soft labels (Chen et al. 2020,
arXiv:2006.10029, equation 2) and a second network that is adapted on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal, final

import torch
from torch import Tensor, nn

from coldstart_cli.core.measured import Measured
from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Inputs, Support
from coldstart_cli.models.network import Network, Predictor
from coldstart_cli.strategies.building_blocks.source_classifier import head_for
from coldstart_cli.training.inner_loop import Rule, Weights, descend


@dataclass(frozen=True, slots=True)
class SoftLabels:
    """What a teacher says of unlabelled inputs.

    Attributes:
        inputs: (m, ...).
        outputs: gives the teacher's, (m, n_outputs); called after the predictor of 0 steps was yielded.
        weight: of the divergence from them, beside the loss on the labels.
        temperature: of that divergence.
    """

    inputs: Inputs
    outputs: Callable[[], Tensor]
    weight: float
    temperature: float


def fine_tuned(
    network: Network,
    support: Support,
    rule: Rule,
    trainable: Literal["all", "head"],
    soft: SoftLabels | None,
) -> Iterator[Adapted]:
    """Yields the network after 0, 1, ... steps, without end; once, where there is nothing to learn from.

    Notes `distance` after each step: the divergence from the soft labels, where there are some.
    """
    tuned = Network(network.encoder, head_for(support, network.head, keep=True))
    weights = {name: w.detach() for name, w in tuned.named_parameters()}
    moves = [name for name in weights if trainable == "all" or name.startswith("head.")]
    moving = {name: weights[name].requires_grad_() for name in moves}
    # Over a frozen encoder a step reads features and moves the head alone.
    read = tuned.outputs if trainable == "all" else tuned.from_features
    labelled = _prepared(tuned, support.inputs, trainable) if len(support) else None
    pool = None if soft is None else _prepared(tuned, soft.inputs, trainable)

    def divergence(moving: Weights) -> Tensor:
        assert soft is not None
        assert pool is not None
        return support.objective.divergence(read(moving, pool), soft.outputs(), soft.temperature)

    @torch.no_grad()
    def measured(moving: Weights) -> float:
        return float(divergence(moving))

    def loss(moving: Weights) -> Tensor:
        terms = []
        if labelled is not None:
            terms.append(support.objective.loss(read(moving, labelled), support.targets))
        if soft is not None:
            terms.append(soft.weight * divergence(moving))
        return torch.stack(terms).sum()

    steps = descend(loss, moving, rule, second_order=False)
    for step, adapted in enumerate(islice(steps, 1) if labelled is None and soft is None else steps):
        changed = {name: w.detach() for name, w in adapted.items()}
        notes = Measured("distance", partial(measured, changed)) if soft is not None and step > 0 else {}
        yield Adapted(partial(Predictor, tuned, changed), changed, notes)


def _prepared(network: Network, inputs: Inputs, trainable: Literal["all", "head"]) -> Inputs:
    """What a step reads: the inputs, or for a frozen encoder the features, computed once."""
    if trainable == "all":
        return inputs
    with torch.no_grad():
        features: Tensor = network.encoder(inputs)
    return features


@final
class Follower:
    """Predictors of another adaptation to the same task, which continues only on demand.

    Their cost is therefore not part of the time of the adaptation that they accompany.

    Args:
        begin: starts the adaptation; pure, so that an earlier step can be reached again.
    """

    def __init__(self, begin: Callable[[], Iterator[Adapted]]) -> None:
        self.begin = begin
        self.steps, self.taken = begin(), -1
        self.latest: Adapted | None = None

    def after(self, n_steps: int) -> nn.Module:
        """The predictor after `n_steps`, or after the last where there are fewer."""
        # Steps are mostly asked for in order; for an earlier one the adaptation begins again.
        if n_steps < self.taken:
            self.steps, self.taken = self.begin(), -1
        for adapted in islice(self.steps, n_steps - self.taken):
            self.latest, self.taken = adapted, self.taken + 1
        assert self.latest is not None
        return self.latest.build()

    def outputs(self, n_steps: int, inputs: Inputs) -> Tensor:
        """Outputs (n, n_outputs) of the predictor after `n_steps`, without a graph."""
        predictor = self.after(n_steps)
        with torch.no_grad():
            outputs: Tensor = predictor(inputs)
        return outputs
