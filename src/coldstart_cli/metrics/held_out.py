"""How sure a metric is that cross-validation found: intervals that hold for four labels as for four hundred.

What is wanted is the metric, on fresh examples, of the learner that saw all labels; cross-validation gives
the answers of learners that saw a part of them. `python -m benchmarks.coverage`, and for errors
`benchmarks.error_coverage`, count how often the intervals hold it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, chdtri, stdtrit

DESIGN_EFFECT = 1.1
"""Variance of a cross-validated accuracy over that of as many independent answers: one bad label spoils the
answers to several others. From the simulation."""


@dataclass(frozen=True, slots=True)
class ShareInterval:
    """A share in [0, 1] and its interval, which is not symmetric; nan and [0, 1] of nothing."""

    share: float
    low: float
    high: float


def binomial(share: float, n: float, confidence: float) -> ShareInterval:
    """The interval of Clopper and Pearson 1934 (Biometrika 26:404) of n answers, `share` of them right.

    With x = share n, low is the (1 - confidence) / 2 quantile of Beta(x, n - x + 1), and high the other one
    of Beta(x + 1, n - x); both also hold between whole numbers.
    """
    if not n > 0:
        return ShareInterval(math.nan, 0.0, 1.0)
    tail, right = (1 - confidence) / 2, share * n
    wrong = n - right
    low = 0.0 if right < 1e-9 else float(betaincinv(right, wrong + 1, tail))
    high = 1.0 if wrong < 1e-9 else float(betaincinv(right + 1, wrong, 1 - tail))
    return ShareInterval(share, low, high)


def accuracy(
    right: NDArray[np.float64],
    by_fold: NDArray[np.float64],
    n_folds: int,
    together: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    chance: float,
    confidence: float,
) -> ShareInterval:
    """The accuracy of the learner that saw all labels, from answers of those that saw all but a fold.

    A t interval over folds says "100.0 ± 0.0" where four labels were all answered rightly. This one is never
    narrower than the binomial interval on the different examples, and goes further up, since a learner that
    sees more labels can be better. Its error falls no faster than in proportion to 1 / labels, and its
    accuracy is concave from chance on, so that high becomes the lesser of 1 - (1 - high) (1 - 1 / n_folds)
    and high + (high - chance) / (n_folds - 1); and no less than that of the t interval, for one wrong answer
    among many may be that of one learner alone.

    Args:
        right: (n,) the share of right answers to each example that was held out, over repeats.
        by_fold: (n_repeats n_folds,) accuracies.
        n_folds: at least two.
        together: (n,) which examples are the same or nearly so, and count as one; (n,) which of them come
            from one origin (a person, a document), or the same again.
        chance: the accuracy without any label, such as the share of the largest class.
    """
    n = effective_n(right, *together, confidence, design_effect=DESIGN_EFFECT)
    found = binomial(float(right.mean()), n, confidence)
    proportional = 1 - (1 - found.high) * (1 - 1 / n_folds)
    concave = found.high + max(0.0, found.high - chance) / (n_folds - 1)
    spread = corrected(by_fold, n_folds, confidence)
    high = max(min(proportional, concave), spread.mean + spread.half_width)
    return ShareInterval(found.share, found.low, min(1.0, high))


def effective_n(
    right: NDArray[np.float64],
    alike: NDArray[np.int64],
    clusters: NDArray[np.int64],
    confidence: float,
    *,
    design_effect: float,
) -> float:
    """As many independent answers tell as much as these.

    At most the different examples, by Kish 1965 (Survey Sampling) where some occur more often than others,
    over `design_effect`: 1 of answers by one predictor. Fewer where origins differ: share (1 - share) /
    variance of the share over clusters, times (t of n - 1 / t of the clusters - 1 degrees of freedom)² (Korn
    and Graubard 1998, Survey Methodology 24:193). Clusters without any spread, as where all answers are
    right, leave the number of examples.
    """
    n = len(right)
    if n == 0:
        return 0.0
    different = n**2 / float(np.square(np.unique(alike, return_counts=True)[1]).sum()) / design_effect
    names, of = np.unique(clusters, return_inverse=True)
    share, many = float(right.mean()), len(names)
    if many == len(np.unique(alike)):  # every cluster is one example
        return different
    if many < 2:
        return min(different, 1.0)
    residuals = np.bincount(of, right - share)
    variance = many / (many - 1) * float(np.square(residuals).sum()) / n**2
    if variance == 0.0:
        return different
    half = 0.5 + confidence / 2
    t = float(stdtrit(n - 1, half) / stdtrit(many - 1, half))
    return float(min(different, share * (1 - share) / variance * t**2))


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference and its interval."""

    value: float
    low: float
    high: float


def difference(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    together: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    confidence: float,
) -> Difference:
    """By how much one learner's accuracy is above another's on the same held-out examples.

    With b the share that `after` answers better and c the share that it answers worse, each with its
    binomial interval [l, u], the interval of b - c is [b - c - sqrt((b - l_b)² + (u_c - c)²), b - c +
    sqrt((u_b - b)² + (c - l_c)²)] (Newcombe 1998, Statistics in Medicine 17:2635; Zou and Donner 2008, ibid.
    27:1693). It has a width also where no answer differs.

    Args:
        before, after: (n,) the share of right answers to each example, over repeats.
        together: as of `accuracy`.
    """
    parts = []
    for share in (np.maximum(after - before, 0.0), np.maximum(before - after, 0.0)):
        n = effective_n(share, *together, confidence, design_effect=DESIGN_EFFECT)
        parts.append(binomial(float(share.mean()), n, confidence))
    b, c = parts
    value = b.share - c.share
    low = value - math.hypot(b.share - b.low, c.high - c.share)
    high = value + math.hypot(b.high - b.share, c.share - c.low)
    return Difference(value, max(-1.0, low), min(1.0, high))


def mean_difference(
    differences: NDArray[np.float64], clusters: NDArray[np.int64], confidence: float
) -> Difference:
    """The mean of (n,) with the t interval over clusters; infinite of one cluster."""
    n, mean = len(differences), float(differences.mean())
    names, of = np.unique(clusters, return_inverse=True)
    if len(names) < 2:
        return Difference(mean, -math.inf, math.inf)
    residuals = np.bincount(of, differences - mean)
    error = math.sqrt(len(names) / (len(names) - 1) * float(np.square(residuals).sum())) / n
    half = float(stdtrit(len(names) - 1, 0.5 + confidence / 2)) * error
    return Difference(mean, mean - half, mean + half)


@dataclass(frozen=True, slots=True)
class ErrorInterval:
    """A mean error, at least 0, and its interval, which is not symmetric; nan and [0, inf] of nothing."""

    mean: float
    low: float
    high: float


LEARNED = 1.5
"""Squared errors of cross-validation over as many independent ones that say as much of their mean."""
UNSEEN = 3.0
"""The same, beside what their spread says: few errors seldom show it. Both from the simulation."""


def squared_error(
    errors: NDArray[np.float64],
    n_folds: int,
    together: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    confidence: float,
) -> ErrorInterval:
    """The mean squared error of the learner that saw all labels, from those that saw all but a fold.

    Few squares of errors seldom show how large they can become, so that a t interval is too sure and ends too
    low. Were the errors normal, nu = n of them, nu mean / m would be chi-square of nu degrees of freedom, m
    being what the mean estimates; of others nu = 2 mean² / variance of the mean (Satterthwaite 1946,
    Biometrics Bulletin 2:110). The interval is [nu mean / q(1 - a), nu mean / q(a)] with the lesser of
    n / `LEARNED` and that nu / `UNSEEN`. The lower end falls by 1 / n_folds, since a learner that sees more
    labels can be better. Where one error in twenty is six times as large as the others, it holds in four
    cases of five: no forty labels tell of them.

    Args:
        errors: (n,) the square for each example that was held out, the mean over repeats.
        n_folds: at least two.
        together: as of `accuracy`.
    """
    found = mean_error(errors, together, learned=LEARNED, confidence=confidence)
    return ErrorInterval(found.mean, found.low * (1 - 1 / n_folds), found.high)


def mean_error(
    errors: NDArray[np.float64],
    together: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    learned: float,
    confidence: float,
) -> ErrorInterval:
    """The mean of errors (n,) >= 0 of one predictor, by the same chi-square as of `squared_error`.

    Args:
        learned: errors over as many independent ones: 1 of examples that nothing was learned from.
    """
    alike, clusters = together
    n, mean = len(errors), float(errors.mean()) if len(errors) else math.nan
    names, of = np.unique(clusters, return_inverse=True)
    most = min(len(np.unique(alike)), len(names))
    if most < 2 or not math.isfinite(mean):
        return ErrorInterval(mean, 0.0, math.inf)
    residuals = np.bincount(of, errors - mean)
    variance = len(names) / (len(names) - 1) * float(np.square(residuals).sum()) / n**2
    nu = most / learned if variance == 0.0 else min(most / learned, 2 * mean**2 / variance / UNSEEN)
    tail = (1 - confidence) / 2
    low, high = (nu * mean / float(chdtri(nu, q)) for q in (tail, 1 - tail))
    return ErrorInterval(mean, low, high)


@dataclass(frozen=True, slots=True)
class TInterval:
    """A mean over folds and its corrected interval; infinite where nothing could be held out."""

    mean: float
    half_width: float


def corrected(values: NDArray[np.float64], n_folds: int, confidence: float) -> TInterval:
    """The t interval of scores (n_repeats n_folds,) of repeated cross-validation.

    Folds share most of what they are trained on, and repeats share all, so that sd / sqrt(n) is far too
    sure. Nadeau and Bengio 2003 (Machine Learning 52:239) add to 1 / n the ratio of held-out to seen
    examples, here 1 / (n_folds - 1): variance = (1 / n + 1 / (n_folds - 1)) sd², n = n_repeats n_folds,
    with n - 1 degrees of freedom (Bouckaert and Frank 2004, PAKDD). It is a rule of thumb, since no
    estimator of this variance is unbiased (Bengio and Grandvalet 2004, JMLR 5). Of accuracies it covers
    too rarely, for few labels are often all answered rightly, without any spread: see `accuracy`; and of
    errors, see `squared_error`.
    """
    mean = float(values.mean()) if values.size else math.nan
    if values.size < 2 or n_folds < 2 or not np.isfinite(values).all():
        return TInterval(mean, math.inf)
    df = values.size - 1
    error = math.sqrt(1 / values.size + 1 / (n_folds - 1)) * float(values.std(ddof=1))
    return TInterval(mean, float(stdtrit(df, 0.5 + confidence / 2)) * error)
