"""The learning curve of a strategy over nested parts of the labels that there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.bundles.judging.held_out_labels import Rehearsal
from coldstart_cli.metrics.extrapolation import Gain, curves
from coldstart_cli.training.cross_validation import Indices

REPEATS = 8
"""Orders in which the labels are taken, each of them drawn anew."""
HELD_OUT = 0.25
"""The least share of a class's labels that judges."""
MOST_SIZES = 6
CONFIDENCE = 0.9
"""Of what is said of more labels."""


GOALS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
"""Accuracies whose labels are foretold: the two next ones."""
FARTHEST = 10
"""Times the labels that there are, beyond which nothing is said."""


@dataclass(frozen=True, slots=True)
class Point:
    """The share of right answers after learning from k labels a class (the mean over classes)."""

    k: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreLabels:
    """What more labels would bring.

    Attributes:
        of: the candidate that the curve is of.
        points: the curve on the labels that there are.
        gains: after five more labels a class, and after twice as many as there are.
        needed: accuracy -> about how many labels a class reach it.
        confidence: of the intervals.
    """

    of: str
    points: tuple[Point, ...]
    gains: tuple[Gain, ...]
    needed: dict[str, float]
    confidence: float


def foretold(of: str, points: Sequence[Point], n: int, k: float, accuracy: float) -> MoreLabels | None:
    """What the curve says of more labels; None where it has too few points.

    Args:
        n: labels in all.
        k: of a class, the mean.
        accuracy: of the learner that saw all of them, by cross-validation.
    """
    if len(points) < 2:
        return None
    fitted = curves([point.k for point in points], [point.share for point in points], n, k)
    # five more and twice as many, unless these are nearly the same
    asked = [k + 5] if abs(k - 5) < 3 else sorted((k + 5, 2 * k))
    gains = tuple(fitted.gain(more, CONFIDENCE) for more in asked)
    needed = {}
    for goal in [goal for goal in GOALS if goal > accuracy][:2]:
        if (labels := fitted.labels_for(goal - accuracy, FARTHEST * k)) is not None:
            needed[f"{goal:g}"] = labels
    return MoreLabels(of=of, points=tuple(points), gains=gains, needed=needed, confidence=CONFIDENCE)


def sizes_of(counts: NDArray[np.int64]) -> list[float]:
    """Shares of each class's labels to learn from, the smallest first; none where no class has three.

    Args:
        counts: labels (groups of those that belong together) of each class.
    """
    typical = int(np.median(counts))
    most = typical - max(1, math.ceil(HELD_OUT * typical))
    if most < 2:
        return []
    steps = np.unique(np.geomspace(1, most, MOST_SIZES).round().astype(int))
    return [float(step) / typical for step in steps]


def parts(
    targets: NDArray[np.int64], groups: Indices, shares: Sequence[float], generator: np.random.Generator
) -> tuple[list[Indices], Indices]:
    """Nested parts of the labels to learn from, and those that judge all of them.

    Args:
        targets: (n,) class ids.
        groups: (n,) which belong together: a group is learned from as a whole, or judges.
        shares: of each class's groups; the last is the largest. Every part has a group of every class.
    """
    seen: list[list[Indices]] = [[] for _ in shares]
    taken = np.zeros(len(targets), dtype=bool)
    for label in np.unique(targets):
        own = generator.permutation(np.unique(groups[targets == label]))
        for part, share in zip(seen, shares, strict=True):
            kept = own[: max(1, round(share * len(own)))]
            part.append(np.flatnonzero(np.isin(groups, kept) & (targets == label)))
        taken |= np.isin(groups, own[: max(1, round(shares[-1] * len(own)))])
    return [np.sort(np.concatenate(part)) for part in seen], np.flatnonzero(~taken)


def learning_curve(
    rehearsal: Rehearsal, step: Callable[[Rehearsal], int], told: Callable[[int, int], None]
) -> list[Point]:
    """The curve; empty where classes have too few labels.

    Args:
        step: chooses the number of steps by the labels that are learned from.
        told: hears how many adaptations are done, of how many.
    """
    labels, groups = rehearsal.labels, rehearsal.together.clusters
    pairs = np.unique(np.stack([labels, groups]), axis=1)[0]
    shares = sizes_of(np.bincount(pairs))
    right, wrong = np.zeros(len(shares)), np.zeros(len(shares))
    learned = np.zeros(len(shares))
    for repeat in range(REPEATS if shares else 0):
        generator = np.random.default_rng([rehearsal.support.seed % 2**32, repeat])
        seen, judges = parts(labels, groups, shares, generator)
        for i, part in enumerate(seen):
            hits = rehearsal.hits(part, judges, step)
            right[i] += hits.sum()
            wrong[i] += len(hits) - hits.sum()
            learned[i] += len(part)
            told(repeat * len(shares) + i + 1, REPEATS * len(shares))
    n_classes = len(np.unique(labels))
    return [
        Point(float(n / REPEATS / n_classes), float(r / (r + w)))
        for n, r, w in zip(learned, right, wrong, strict=True)
        if r + w
    ]
