"""Class means of features."""

from __future__ import annotations

from torch import Tensor

from coldstart_cli.core.objectives import one_hot

_LARGEST = 1 << 24
"""Of examples times classes, above which a matrix of who belongs where costs more than it saves."""


def prototypes(features: Tensor, targets: Tensor, n_way: int, weights: Tensor | None = None) -> Tensor:
    """The mean feature of each class. (n, d), (n,) -> (n_way, d). A class without examples is at 0.

    Args:
        weights: (n,) what each feature counts, above 0; None for 1.
    """
    if weights is not None:
        sums = features.new_zeros(n_way, features.shape[1]).index_add(0, targets, weights[:, None] * features)
        return sums / weights.new_zeros(n_way).index_add(0, targets, weights).unsqueeze(1)
    if len(targets) * n_way > _LARGEST:
        sums = features.new_zeros(n_way, features.shape[1]).index_add(0, targets, features)
        return sums / targets.bincount(minlength=n_way).clamp(min=1).to(features.dtype).unsqueeze(1)
    members = one_hot(targets, n_way).to(features.dtype)
    return (members.T @ features) / members.sum(0).clamp(min=1).unsqueeze(1)
