"""The name of a class as one more example of it, and at k = 0 its only one.

With features x of the support set, features e of the names and w = `name_weight`, a class mean is
(sum_i x_i + w e_c) / (n_c + w). Labels as texts that others are compared with, at k = 0: Yin, Hay and Roth
2019, arXiv:1909.00161. Names beside examples: Xing, Rostamzadeh, Oreshkin and Pinheiro 2019,
arXiv:1902.07104, who learn a weight for each class, where ours is one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, TypedDict, final

import torch
from annotated_types import Ge
from torch import Tensor, nn

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Support, map_inputs


class Named(TypedDict):
    """Hyper-parameters of strategies that take a class's name for one more example of it.

    Attributes:
        name_weight: what the name counts beside an example; 0 leaves names unread. Names are read in
            adaptation alone, not in training on the source.
    """

    name_weight: Annotated[float, Ge(0)]


@final
@dataclass(frozen=True, slots=True)
class Known:
    """Features that a task is learned from.

    Attributes:
        features: (n, feature_dim) of the support set, then of the names if they are read.
        targets: (n,) class ids, or (n, n_outputs) reals.
        weights: (n,) what each counts; None where each counts 1.
        n_names: how many of them are names.
    """

    features: Tensor
    targets: Tensor
    weights: Tensor | None
    n_names: int


def known(encoder: nn.Module, support: Support, named: Named) -> Known:
    """What is known of a task: its examples and, with a weight and where there are any, its names."""
    weight = named["name_weight"]
    if weight == 0 or support.names is None:
        return Known(encoder(support.inputs), support.targets, None, 0)
    names = encoder(support.names)
    targets = torch.arange(len(names), device=support.targets.device)
    weights = names.new_full((len(names),), weight)
    if len(support):
        # One after the other, not joined: tokens of texts and of names differ in their number.
        features = encoder(support.inputs)
        names, targets = torch.cat([features, names]), torch.cat([support.targets, targets])
        weights = torch.cat([features.new_ones(len(features)), weights])
    return Known(names, targets, weights, len(weights) - len(support))


def class_sums(found: Known, n_way: int) -> Tensor:
    """The weighted sum of each class's features, (n_way, feature_dim)."""
    members = one_hot(found.targets, n_way).to(found.features.dtype)
    if found.weights is not None:
        members = found.weights.unsqueeze(-1) * members
    return members.T @ found.features


def ablations_of_names(
    adapt: Callable[[Support], Iterator[Adapted]], support: Support, named: Named
) -> dict[str, Iterator[Adapted]]:
    """Adapts with the `names of another class`, and with `names off` where there are labels."""
    if named["name_weight"] == 0 or support.names is None:
        return {}
    others = map_inputs(lambda tensor: tensor.roll(1, 0), support.names)
    found = {"names of another class": adapt(replace(support, names=others))}
    if len(support):
        found["names off"] = adapt(replace(support, names=None))
    return found
