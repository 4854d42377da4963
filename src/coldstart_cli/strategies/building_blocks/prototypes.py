"""Class means of features."""

from __future__ import annotations

from torch import Tensor

from coldstart_cli.core.objectives import one_hot


def prototypes(features: Tensor, targets: Tensor, n_way: int) -> Tensor:
    """The mean feature of each class. (n, d), (n,) -> (n_way, d). A class without examples is at 0."""
    members = one_hot(targets, n_way).to(features.dtype)
    return (members.T @ features) / members.sum(0).clamp(min=1).unsqueeze(1)
