"""Classes answered on examples that a predictor has not learned from: metrics, intervals, thresholds.

Every function is linear in the n examples but for sorting them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from coldstart_cli.metrics.held_out import ShareInterval, binomial, effective_n

Reals = NDArray[np.float64]
Whole = NDArray[np.int64]
Together = tuple[Whole, Whole]
"""(n,) which examples are the same or nearly so; (n,) which come from one origin, or the same again."""

STARTS = 10
"""Shares of the examples, evenly spaced, at which the search for a threshold starts."""
STEPS = 100
"""Shares that it goes through in all."""
DIGITS = 6
"""Of a threshold, which is rounded down."""


def accuracy(right: Reals, together: Together, confidence: float) -> ShareInterval:
    """The share of right answers (n,), by Clopper and Pearson on the independent ones among them."""
    if not len(right):
        return ShareInterval(math.nan, 0.0, 1.0)
    n = effective_n(right, *together, confidence, design_effect=1.0)
    return binomial(float(right.mean()), n, confidence)


def balanced_accuracy(targets: Whole, answers: Whole, together: Together, confidence: float) -> ShareInterval:
    """The mean of the classes' recalls; the classes are those among `targets`, and fixed.

    An example of a class of n_c among C weighs 1 / (C n_c); the variance is that of the weighted residuals
    over clusters, and the interval the binomial one of as many answers as have this variance (Korn and
    Graubard 1998, Survey Methodology 24:193), at most 1 / sum of squared weights.
    """
    right = (targets == answers).astype(np.float64)
    weights, recalls = _by_class(targets, right)
    return _interval(
        float(weights @ right), weights * (right - recalls[targets]), weights, together, confidence
    )


def macro_f1(targets: Whole, answers: Whole, together: Together, confidence: float) -> ShareInterval:
    """The mean over classes of 2 hits / (targets + answers), of the classes among either.

    Its interval is as of `balanced_accuracy`, of the linearised score: one more example of class y that is
    answered with s moves it by ([y = s] 2 - F_y - ...) / (targets + answers), and by as much of s.
    """
    right = (targets == answers).astype(np.float64)
    size = int(max(targets.max(), answers.max())) + 1
    hits = np.bincount(targets, right, minlength=size)
    either = np.bincount(targets, minlength=size) + np.bincount(answers, minlength=size)
    f1 = 2 * hits / np.maximum(either, 1)
    many = int((either > 0).sum())
    # Each example adds one to `either` of its class and one to that of its answer.
    moved = (2 * right - f1[targets]) / either[targets] - f1[answers] / either[answers]
    return _interval(float(f1.sum()) / many, moved / many, _by_class(targets, right)[0], together, confidence)


def _by_class(targets: Whole, right: Reals) -> tuple[Reals, Reals]:
    """(n,) weights under which each class counts the same, and the recall of each class."""
    sizes = np.bincount(targets)
    recalls = np.bincount(targets, right) / np.maximum(sizes, 1)
    return 1 / (sizes[targets] * np.count_nonzero(sizes)), recalls


def _interval(
    share: float, moved: Reals, weights: Reals, together: Together, confidence: float
) -> ShareInterval:
    """The binomial interval of as many answers as have the variance of `moved`, summed over clusters."""
    alike, clusters = together
    most = 1 / float(np.square(_sums(weights, alike)).sum())
    sums = _sums(moved, clusters)
    many = len(sums)
    variance = many / (many - 1) * float(np.square(sums).sum()) if many > 1 else 0.0
    n = most if many > 1 else min(most, 1.0)
    if variance > 0:
        half = 0.5 + confidence / 2
        t = float(stdtrit(max(1, len(moved) - 1), half) / stdtrit(many - 1, half))
        n = min(most, share * (1 - share) / variance * t**2)
    return binomial(share, n, confidence)


def _sums(values: Reals, groups: Whole) -> Reals:
    return np.bincount(np.unique(groups, return_inverse=True)[1], values).astype(np.float64)


def r2(errors: Reals, spread: Reals, clusters: Whole, confidence: float) -> tuple[float, float, float]:
    """1 - sum of squared errors / sum of squared distances from the mean, and a linearised t interval.

    Args:
        errors, spread: (n,) both sums' terms.
    """
    total = float(spread.sum())
    if not total > 0:
        return math.nan, -math.inf, 1.0
    value = 1 - float(errors.sum()) / total
    sums = _sums((errors - (1 - value) * spread) / total, clusters)
    many = len(sums)
    if many < 2:
        return value, -math.inf, 1.0
    half = float(stdtrit(many - 1, 0.5 + confidence / 2)) * math.sqrt(
        many / (many - 1) * float(np.square(sums).sum())
    )
    return value, value - half, min(1.0, value + half)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What is answered from a threshold on.

    Attributes:
        share: of the examples that is answered.
        precision: share of the answers that is right, with its interval.
    """

    threshold: float
    share: float
    answered: int
    precision: float
    low: float
    high: float


def answered(
    sure: Reals, right: Reals, together: Together, shares: Sequence[float], confidence: float
) -> Iterator[Answered]:
    """The precision where so large a share of the examples, those answered most surely, is answered.

    Args:
        sure: (n,) probability of each answer.
        right: (n,) whether it is right, 0 or 1.
    """
    ordered = np.sort(sure)[::-1]
    for share in shares:
        count = max(1, math.ceil(share * len(sure) - 1e-9))
        yield answers_from(float(ordered[count - 1]), sure, right, together, confidence)


def answers_from(
    threshold: float, sure: Reals, right: Reals, together: Together, confidence: float
) -> Answered:
    """What is answered from a threshold on, by one predictor."""
    return _from(threshold, sure, right, together, confidence, 1.0)


def _from(
    threshold: float, sure: Reals, right: Reals, together: Together, confidence: float, design_effect: float
) -> Answered:
    kept = sure >= threshold
    hits = right[kept]
    n = 0.0
    if len(hits):
        n = effective_n(hits, together[0][kept], together[1][kept], confidence, design_effect=design_effect)
    found = binomial(float(hits.mean()) if len(hits) else math.nan, n, confidence)
    return Answered(
        threshold=threshold,
        share=len(hits) / len(sure),
        answered=len(hits),
        precision=found.share,
        low=found.low,
        high=found.high,
    )


def threshold_for(
    sure: Reals,
    right: Reals,
    together: Together,
    precision: float,
    *,
    confidence: float,
    design_effect: float,
) -> Answered | None:
    """The lowest threshold from which on answers are right in at least `precision` of cases; None: none is.

    Whether any threshold is given whose precision is lower has a probability of at most 1 - confidence =
    alpha over such sets of examples. A threshold passes where the one-sided bound of Clopper and Pearson on
    its answers holds the precision. They are tried from each of `STARTS` shares of the examples on, towards
    more answers, each start with alpha / `STARTS`, until one fails (fixed sequences with several starts:
    Angelopoulos et al. 2021, arXiv:2110.01052, section 4); the order is that of the probabilities, which
    the labels do not change.

    Args:
        sure, right, together: as of `answered`.
        design_effect: as of `effective_n`.

    Returns:
        The threshold; `low` is the bound that it passed, `high` says nothing.
    """
    ordered, n = np.sort(sure)[::-1], len(sure)
    level = 1 - 2 * (1 - confidence) / STARTS  # of the two-sided interval with this lower end
    counts = sorted({max(1, math.ceil(n * step / STEPS)) for step in range(1, STEPS + 1)}) if n else []
    starts = {max(1, math.ceil(n * step / STARTS)) for step in range(1, STARTS + 1)}

    def tried(count: int) -> Answered | None:
        threshold = math.floor(float(ordered[count - 1]) * 10**DIGITS) / 10**DIGITS
        found = _from(threshold, sure, right, together, level, design_effect)
        return found if found.answered and found.low >= precision else None

    for start in sorted(starts if n else (), reverse=True):
        best = None
        for count in counts[counts.index(start) :]:
            found = tried(count)
            if found is None:
                break
            best = found
        if best is not None:
            return best
    return None


@dataclass(frozen=True, slots=True)
class Foreign:
    """How well a score tells examples of no known class from others.

    Attributes:
        auroc: the probability that a foreign example has the higher score (ties count half).
        rejected: share of foreign examples with a higher score than 95 of 100 known ones.
    """

    auroc: float
    rejected: float


def foreign(known: Reals, unknown: Reals) -> Foreign:
    """Of scores (n,), (m,) that are to be higher for the unknown; by Mann and Whitney's U."""
    ordered = np.sort(known)
    below, up_to = (np.searchsorted(ordered, unknown, side) for side in ("left", "right"))
    area = float((below + up_to).sum()) / 2 / (len(known) * len(unknown))
    return Foreign(area, float((unknown > np.quantile(known, 0.95)).mean()))


def self_confidence(of_label: Reals, labels: Whole, n_classes: int) -> Reals:
    """(n_classes,) mean probability of a class over the examples labelled so; infinite where there are none.

    Args:
        of_label: (n,) probability of the label of each example.
    """
    sizes = np.bincount(labels, minlength=n_classes)
    sums = np.bincount(labels, of_label, minlength=n_classes)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), np.inf)


def confident_disagreement(p: Reals, labels: Whole, thresholds: Reals) -> NDArray[np.bool_]:
    """(n,) whether a label is likely wrong: confident learning (Northcutt 2021, arXiv:1911.00068).

    An example is counted for the likeliest class among those whose threshold it reaches (equation 1); one
    that is counted for another class than its label is off the diagonal of the confident joint.

    Args:
        p: (n, n_classes) probabilities.
        thresholds: `self_confidence` of all examples (equation 2).
    """
    reached = np.where(p >= thresholds, p, -1.0)
    best = reached.argmax(1)
    return np.asarray((reached.max(1) >= 0) & (best != labels))
