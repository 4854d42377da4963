"""What alignment strategies share: gradient steps on kept source examples beside those of the new task.

Two settings, one path. Where the task's classes are classes of the source (domain shift), one head serves
both domains and the task's outputs are rows of it. Where they are new, the task has a head of its own,
which starts at zero, and the source's head continues to serve the source.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.measured import Measured
from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import (
    Examples,
    Inputs,
    Objective,
    Support,
    TaskSource,
    joined,
    map_inputs,
    n_examples,
)
from coldstart_cli.models.network import Network, Predictor, below
from coldstart_cli.strategies.building_blocks.source_classifier import (
    FineTuning,
    fit_classifier,
    head_for,
    rule_of,
)
from coldstart_cli.strategies.building_blocks.source_memory import Memory
from coldstart_cli.training.inner_loop import Weights, batches, canonical, descend


class BetweenDomains(FineTuning):
    """Hyper-parameters of every strategy that adapts between two domains.

    Attributes:
        memory_size: source examples kept for adaptation.
        adaptation_batch_size: examples of the source, labelled and unlabelled, of each at most, in one step
            of adaptation.
    """

    memory_size: Annotated[int, Ge(1)]
    adaptation_batch_size: Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True)
class Domains:
    """Features of a batch of both domains, (n, feature_dim) each; any of them may be empty.

    Attributes:
        source, source_targets: kept source examples.
        labelled, labelled_targets: of the task, targets in its own numbering.
        unlabelled: of the task.
        unlabelled_outputs: (n, n_outputs), what the task's head says of them.
    """

    source: Tensor
    source_targets: Tensor
    labelled: Tensor
    labelled_targets: Tensor
    unlabelled: Tensor
    unlabelled_outputs: Tensor

    @property
    def target(self) -> Tensor:
        """All features of the task's domain."""
        return torch.cat([self.labelled, self.unlabelled])


StepLoss = Callable[[Tensor, Weights, Domains, int], Tensor]
"""(classification loss, weights, features of a batch, steps taken before) -> the loss of a step."""


def fit_and_remember(
    network: Network,
    memory: Memory,
    source: TaskSource,
    optimizer: torch.optim.Optimizer,
    between: BetweenDomains,
    *,
    seed: int,
    start: int,
) -> Iterator[dict[str, float]]:
    """Fills the memory, then trains like `source_classifier.fit_classifier`."""
    if start == 0:
        memory.fill(source.pool("train"), seed)
    batch_size = between["batch_size"]
    return fit_classifier(network, source, optimizer, batch_size=batch_size, seed=seed, start=start)


def adapt_between(
    network: Network,
    memory: Memory,
    support: Support,
    step_loss: StepLoss,
    distance: Callable[[Domains], Tensor],
    extra: Mapping[str, Tensor],
    between: BetweenDomains,
) -> Generator[Adapted, None, None]:
    """Yields before the first step and after each.

    The classification loss is the source batch's under the source's head plus the labelled batch's under
    the task's. The note `distance` is measured on the same examples after every step that is scored, so that
    its fall does not depend on the batch.

    Args:
        step_loss: what a step lowers, classification loss included.
        distance: between the domains; it is noted.
        extra: further tensors that descend, by name, such as those of a discriminator.
    """
    task_network = Network(network.encoder, head_for(support, network.head, keep=True))
    weights = {f"encoder.{name}": w for name, w in network.encoder.named_parameters()}
    weights |= {f"source_head.{name}": w for name, w in network.head.named_parameters()}
    if support.source_classes is None:
        # Where labels are shared, there is no such head: rows of the source's are the task's.
        weights |= {f"head.{name}": w for name, w in task_network.head.named_parameters()}
    drawn = _batches(memory, support, between["adaptation_batch_size"])
    # The first batch of an identical stream, so that measuring draws nothing from the one in use.
    yardstick = next(_batches(memory, support, between["adaptation_batch_size"]))
    # Steps are counted here, because `descend` does not tell the loss which one it is.
    counted = itertools.count()

    def loss(weights: Weights) -> Tensor:
        domains = _features(network, support, weights, *next(drawn))
        classification = _classification(support, weights, domains)
        return step_loss(classification, weights, domains, next(counted))

    @torch.no_grad()
    def measured(weights: Weights) -> float:
        return float(distance(_features(network, support, weights, *yardstick)))

    rule = rule_of(between)
    # Everything that moves is one mapping: encoder, heads, and what a strategy adds.
    moving = {name: w.detach().requires_grad_() for name, w in (weights | dict(extra)).items()}
    for adapted in descend(loss, moving, rule, second_order=False):
        apart = Measured("distance", partial(measured, adapted)) if len(memory) else {}
        changed = {n: w.detach() for n, w in adapted.items() if n.startswith("encoder.")}
        changed |= {f"head.{n}": w.detach() for n, w in _task_head(support, adapted).items()}
        yield Adapted(partial(Predictor, task_network, changed), changed, apart)


def source_outputs(weights: Weights, features: Tensor) -> Tensor:
    """(n, feature_dim) -> (n, n_source_outputs), by the source's head as it is now."""
    return F.linear(features, weights["source_head.weight"], weights["source_head.bias"])


def _task_head(support: Support, weights: Weights) -> Weights:
    if support.source_classes is None:
        return below("head.", weights)
    return {name: w[support.source_classes] for name, w in below("source_head.", weights).items()}


def _batches(
    memory: Memory, support: Support, batch_size: int
) -> Iterator[tuple[Examples, Examples, Inputs]]:
    """Source, labelled and unlabelled examples, without end; a function of the seed and the sets."""
    nothing = map_inputs(lambda t: t[:0], support.inputs)
    source = memory.examples if len(memory) else Examples(nothing, support.targets[:0])
    labelled = canonical(Examples(support.inputs, support.targets))
    free = nothing if support.unlabelled is None else support.unlabelled
    unlabelled = canonical(Examples(free, torch.zeros(n_examples(free), device=support.targets.device)))
    parts = (source, labelled, unlabelled)
    # A seed for each set: with one, sets of equal size would be drawn in step.
    drawn = [batches(len(part), batch_size, support.seed + i) for i, part in enumerate(parts)]
    for of_source, of_labelled, of_unlabelled in zip(*drawn, strict=True):
        yield source.take(of_source), labelled.take(of_labelled), unlabelled.take(of_unlabelled).inputs


def _features(
    network: Network,
    support: Support,
    weights: Weights,
    source: Examples,
    labelled: Examples,
    unlabelled: Inputs,
) -> Domains:
    """One pass over all, so that both domains share batch statistics, where a norm uses them."""
    features = network.features(weights, joined(joined(source.inputs, labelled.inputs), unlabelled))
    n, m = len(source), len(source) + len(labelled)
    head = _task_head(support, weights)
    outputs = F.linear(features[m:], head["weight"], head["bias"])
    return Domains(features[:n], source.targets, features[n:m], labelled.targets, features[m:], outputs)


def _classification(support: Support, weights: Weights, domains: Domains) -> Tensor:
    head = _task_head(support, weights)
    outputs = F.linear(domains.labelled, head["weight"], head["bias"])
    of_source = source_outputs(weights, domains.source)
    return _loss(support.objective, of_source, domains.source_targets) + _loss(
        support.objective, outputs, domains.labelled_targets
    )


def _loss(objective: Objective, outputs: Tensor, targets: Tensor) -> Tensor:
    """The objective's loss, or 0 where there are no examples."""
    return objective.loss(outputs, targets) if len(outputs) else outputs.sum() * 0
