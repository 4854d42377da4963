"""What strategies with a classifier of all source classes share: its training, and steps on a new task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Annotated, Literal, TypedDict

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource
from coldstart_cli.models.network import Network, blank_head
from coldstart_cli.models.norm import MOMENTUM
from coldstart_cli.processes.batch_parts import batch_mean
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.training.inner_loop import (
    Rule,
    State,
    Weights,
    apart,
    batches,
    canonical,
    descend,
    rule_named,
)
from coldstart_cli.training.outer_loops import supervised

NEW_PARTS = ("head.", "discriminator.")
"""What names of tensors begin with that are not of the source, where the task's classes are new."""


class FineTuning(TypedDict):
    """Hyper-parameters of strategies that train a classifier on the source and descend from it on a task.

    Attributes:
        batch_size: source examples in one outer step.
        lr: learning rate of adaptation.
        head_lr: learning rate of the task's head, and of a discriminator, which are new where the rest was
            trained on the source; None for `lr`. Published code has ten times `lr` (co-tuning, DANN, CDAN).
        rule: update rule of adaptation.
        momentum: of `sgd`.
    """

    batch_size: Annotated[int, Ge(1)]
    lr: Annotated[float, Gt(0)]
    head_lr: Annotated[float, Gt(0)] | None
    rule: Literal["sgd", "adam"]
    momentum: Annotated[float, Ge(0), Le(1)]


def rule_of(tuning: FineTuning) -> Rule:
    """The update rule of adaptation."""
    name, momentum, head_lr = tuning["rule"], tuning["momentum"], tuning["head_lr"]
    rule = rule_named(name, tuning["lr"], momentum)
    return rule if head_lr is None else apart(NEW_PARTS, rule_named(name, head_lr, momentum), rule)


def fit_classifier(
    network: Network,
    source: TaskSource,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: int,
    seed: int,
    start: int,
    observe: Callable[[Tensor], None] | None = None,
) -> Iterator[dict[str, float]]:
    """Trains encoder and head on the pool of all source examples, without end; see `training.supervised`.

    Args:
        observe: is given the mean feature (feature_dim,) of each batch, without its graph.
    """

    def batch_loss(objective: Objective, batch: Examples) -> dict[str, Tensor]:
        features = network.encoder(batch.inputs)
        if observe is not None:
            # Over the whole batch, also where this rank computes only a part of it.
            observe(batch_mean(features.detach()))
        return scores(objective, network.head(features), batch.targets)

    return supervised(
        batch_loss,
        source.pool("train"),
        optimizer,
        batch_size=batch_size,
        seed=seed,
        device=network.head.weight.device,
        start=start,
    )


def fit_with_mean(
    network: Network,
    source: TaskSource,
    optimizer: torch.optim.Optimizer,
    mean: Tensor,
    *,
    batch_size: int,
    seed: int,
    start: int,
) -> Iterator[dict[str, float]]:
    """The same, while the buffer `mean` (feature_dim,) follows the mean of the source's features."""

    def observe(of_batch: Tensor) -> None:
        # In place, because it is a buffer that checkpoints hold.
        mean.lerp_(of_batch.to(mean), MOMENTUM)

    return fit_classifier(
        network, source, optimizer, batch_size=batch_size, seed=seed, start=start, observe=observe
    )


def head_for(support: Support, source_head: nn.Linear, *, keep: bool) -> nn.Linear:
    """A head for the task: zero, or the source head's rows where the task's outputs are the source's.

    Args:
        keep: whether the source head has learned anything worth keeping.
    """
    # `to`: the type and device of the source head, as after `.double()` or on a GPU.
    head = blank_head(source_head.in_features, support.objective.n_outputs).to(source_head.weight)
    with torch.no_grad():
        if support.source_classes is None or not keep:
            head.weight.zero_()
            head.bias.zero_()
        else:
            head.weight.copy_(source_head.weight[support.source_classes])
            head.bias.copy_(source_head.bias[support.source_classes])
    return head


def for_task(network: Network, support: Support, *, keep_head: bool = True) -> Network:
    """The source's encoder under a head for the task; see `head_for`."""
    return Network(network.encoder, head_for(support, network.head, keep=keep_head))


def weights_of(network: Network, prefix: str = "") -> Weights:
    """The network's parameters whose names begin with `prefix`, without their graph."""
    return {name: w.detach() for name, w in network.named_parameters() if name.startswith(prefix)}


def descended(
    loss: Callable[[Weights], Tensor], start: Mapping[str, Tensor], rule: Rule, support: Support
) -> Iterator[Weights]:
    """The tensors before the first step and after each; only once, unchanged, where there are no labels."""
    moving = {name: w.detach().requires_grad_() for name, w in start.items()}

    def apart_from_before(weights: Weights, gradients: Weights, state: State) -> tuple[Weights, State]:
        # Nobody differentiates through these steps. The graph that would link them has small nodes, between
        # which glibc cannot join the freed weights of a large network: 70 MB more at every step of MiniLM.
        with torch.no_grad():
            moved, state = rule(weights, gradients, state)
        return {name: w.requires_grad_() for name, w in moved.items()}, state

    steps = descend(loss, moving, apart_from_before, second_order=False)
    # A loss over no labels is nan, so no step may be taken.
    for weights in steps if len(support) else islice(steps, 1):
        yield {name: w.detach() for name, w in weights.items()}


def network_loss(
    network: Network, support: Support, batch_size: int | None = None
) -> Callable[[Weights], Tensor]:
    """The loss on the support set, of weights of any part; `batch_size` as in `head_loss`."""
    return support_loss(network.outputs, support, batch_size)


def support_loss(
    outputs: Callable[[Weights, Inputs], Tensor], support: Support, batch_size: int | None
) -> Callable[[Weights], Tensor]:
    """The same of any function of weights and inputs (n, ...) to outputs (n, n_outputs)."""
    examples, drawn = _in_batches(support, batch_size)

    def loss(weights: Weights) -> Tensor:
        chosen = examples if drawn is None else examples.take(next(drawn).to(examples.targets.device))
        return support.objective.loss(outputs(weights, chosen.inputs), chosen.targets)

    return loss


def head_loss(
    network: Network, support: Support, batch_size: int | None = None
) -> Callable[[Weights], Tensor]:
    """The loss of a head on features of the frozen encoder, which are computed once.

    Args:
        batch_size: examples that each call draws, epoch after epoch; None for the whole support set.
    """
    ordered, drawn = _in_batches(support, batch_size)

    @cache  # made at the first step: a task without labels takes none
    def examples() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return network.encoder(ordered.inputs), ordered.targets

    def loss(head: Weights) -> Tensor:
        features, targets = examples()
        if drawn is not None:
            chosen = next(drawn).to(targets.device)
            features, targets = features[chosen], targets[chosen]
        return support.objective.loss(network.from_features(head, features), targets)

    return loss


def _in_batches(support: Support, batch_size: int | None) -> tuple[Examples, Iterator[Tensor] | None]:
    """The examples and the indices that each step takes; None for all of them in their given order."""
    if batch_size is None:
        return support, None
    return canonical(support), batches(len(support), batch_size, support.seed)
