"""What a task's examples, labelled and unlabelled, say of each feature, and the head that follows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.tasks import Support, Task, joined, n_examples

SMALL = 1e-4
"""Added to a variance before its logarithm."""
SHARPNESS = 5.0
"""Initial logits are as large as those of a few features, however many there are."""
UNLABELLED = -1
"""The target of an example without a label, in sets that hold both kinds."""


def with_unlabelled(support: Support) -> Support:
    """Labelled and unlabelled examples as one set, the latter with the target UNLABELLED.

    A regression's set stays as it is.
    """
    if support.unlabelled is None or support.targets.ndim > 1:
        return support
    none = support.targets.new_full((n_examples(support.unlabelled),), UNLABELLED)
    return replace(
        support,
        inputs=joined(support.inputs, support.unlabelled),
        targets=torch.cat([support.targets, none]),
        unlabelled=None,
    )


def prepared(task: Task, *, fewest_shots: int | None) -> Task:
    """`training.episodic`'s prepare: the support set with its unlabelled examples.

    Args:
        fewest_shots: of k labels a class the task has this number to k, a draw of its own; the others are
            LEFT_OUT, so that all tasks have one shape. What is read of a set then holds for all these
            numbers.
            None: all k.
    """
    support = with_unlabelled(task.support)
    if fewest_shots is None or task.support.targets.ndim > 1:
        return replace(task, support=support)
    targets = task.support.targets
    place = (one_hot(targets, task.support.objective.n_outputs).cumsum(0) - 1).gather(1, targets.unsqueeze(1))
    k = int(place.max()) + 1
    fewest = min(fewest_shots, k)
    n = fewest + support.seed % (k - fewest + 1)
    kept = torch.where(place.squeeze(1) < n, targets, LEFT_OUT)
    return replace(task, support=replace(support, targets=torch.cat([kept, support.targets[len(kept) :]])))


LEFT_OUT = -2
"""The target of an example that is as if it were not there."""


@dataclass(frozen=True, slots=True)
class SetStatistics:
    """Of the features (n, d) of a set of labelled and unlabelled examples of n_way classes.

    Attributes:
        means: (n_way, d) of the classes.
        centred: (n, d) labelled examples less their class's mean; 0 in the rows of unlabelled ones.
        freedom: N - n_way for N labelled examples, a scalar, 1 at least.
        within: (d,) pooled variance within classes; 0 where each class has one example.
        between: (d,) variance of the class means.
        total: (d,) variance of the labelled examples.
        unlabelled: (d,) variance of the unlabelled examples; 0 where there are none.
        shots: mean number of labelled examples a class, a scalar.
    """

    means: Tensor
    centred: Tensor
    freedom: Tensor
    within: Tensor
    between: Tensor
    total: Tensor
    unlabelled: Tensor
    shots: Tensor


def set_statistics(features: Tensor, targets: Tensor, n_way: int) -> SetStatistics:
    """Features (n, d) and targets (n,) in [0, n_way), UNLABELLED or LEFT_OUT."""
    members = one_hot(targets, n_way).to(features.dtype)  # a row of zeros for an unlabelled example
    counts, labelled = members.sum(0), members.sum(1, keepdim=True)
    n = counts.sum()
    means = (members.T @ features) / counts.clamp(min=1).unsqueeze(1)
    centred = labelled * features - members @ means
    freedom = (n - n_way).clamp(min=1)
    return SetStatistics(
        means=means,
        centred=centred,
        freedom=freedom,
        within=centred.square().sum(0) / freedom,
        between=means.var(0),
        total=_variance(features, labelled),
        unlabelled=_variance(features, (targets == UNLABELLED).to(features.dtype).unsqueeze(1)),
        shots=n / n_way,
    )


def scaled(found: SetStatistics, scales: Tensor) -> SetStatistics:
    """Of the features times `scales` (d,)."""
    squares = scales.square()
    return replace(
        found,
        means=found.means * scales,
        centred=found.centred * scales,
        within=found.within * squares,
        between=found.between * squares,
        total=found.total * squares,
        unlabelled=found.unlabelled * squares,
    )


def _variance(features: Tensor, chosen: Tensor) -> Tensor:
    """(n, d) and (n, 1) of 0 and 1 -> (d,); 0 of fewer than two."""
    n = chosen.sum().clamp(min=1)
    mean = (chosen * features).sum(0) / n
    return (chosen * (features - mean)).square().sum(0) / (n - 1).clamp(min=1)


def logs(found: SetStatistics) -> Tensor:
    """(5, d): logarithms of the variances within, between, total and unlabelled, and of the shots.

    With one example a class there is no variance within, and without unlabelled examples none of theirs: 0
    stands in their place, and the shots say so.
    """
    many = (found.within.sum() > 0).to(found.within.dtype)
    free = (found.unlabelled.sum() > 0).to(found.within.dtype)
    return torch.stack(
        [
            many * (found.within + SMALL).log(),
            (found.between + SMALL).log(),
            (found.total + SMALL).log(),
            free * (found.unlabelled + SMALL).log(),
            found.shots.log().expand_as(found.total),
        ]
    )


def covariance_head(means: Tensor, told: SetStatistics, ridge: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (n_way, d) and bias (n_way,) of linear discriminant analysis with a regularised covariance.

    -(x - m_c)' S^-1 (x - m_c), S = sum of (x_i - m)(x_i - m)' / (N - n_way) + ridge I (Friedman 1989, JASA
    84:405, "Regularized discriminant analysis"), without the term in x alone, which classes share. With
    one example a class the sum is 0, and this is the nearest prototype with 1 / ridge for its temperature.

    Args:
        means: (n_way, d) of the classes.
        told: whose covariance it is, normally of the same set.
        ridge: a positive scalar.
    """
    # Less their common mean, so that no large numbers cancel.
    centre = means.mean(0)
    means = means - centre
    solved = _solved(told.centred / told.freedom.sqrt(), means, ridge)
    return 2 * solved, -(solved * means).sum(1) - 2 * solved @ centre


def unknown_within(found: SetStatistics) -> Tensor:
    """The mean variance of all labelled examples where each class has one, else 0; a scalar.

    Beside a ridge that was learned with more examples it keeps a head from being sure of what one example a
    class cannot tell; being the same for all features, it changes no answer.
    """
    return torch.where(found.within.sum() > 0, 0.0, found.total.mean())


def by_hand(found: SetStatistics) -> Tensor:
    """(d,) scales without learning: 1 / the deviation within classes, of single examples the total's."""
    variance = torch.where(found.within.sum() > 0, found.within, found.total)
    return (variance + SMALL).rsqrt()


def _solved(rows: Tensor, means: Tensor, ridge: Tensor) -> Tensor:
    """(rows' rows + ridge I)^-1 m for each m: (n, d), (c, d) -> (c, d)."""
    n, d = rows.shape
    eye = torch.eye(min(n, d), dtype=rows.dtype, device=rows.device)
    if n >= d:
        found: Tensor = torch.linalg.solve(rows.T @ rows + ridge * eye, means.T)
        return found.T
    # Woodbury's identity: as large a system as there are examples.
    inner: Tensor = torch.linalg.solve(rows @ rows.T + ridge * eye, rows @ means.T)
    return (means - inner.T @ rows) / ridge
