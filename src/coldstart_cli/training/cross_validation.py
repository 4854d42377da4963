"""One real task with few labels: what its support set alone tells about a learner.

Shimabucoro, Hospedales and Gouk 2023, arXiv:2307.02732, compared such methods on few-shot tasks: few folds
estimate best how good one learner is, many folds choose best among several.

To estimate, what counts is the error of the number. With few folds the support sets of different folds
differ, so that their spread shows something of the spread over support sets, a fold holds enough examples
to be scored, and repeating with other folds averages out the luck of the split; the price is a learner that
saw fewer labels and is a little worse than the one that will be used. To select, only the order counts, and
it depends on the number of labels: with as many folds as labels every candidate sees all but one.

No number of folds makes up for few labels: the paper finds no estimate from a single task reliable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Indices = NDArray[np.int64]
Folds = list[tuple[Indices, Indices]]
"""(seen, held out) of every fold; the held-out parts together are all examples, each once."""

Score = Callable[[Indices, Indices], Mapping[str, float]]
"""(seen, held out) -> candidate -> its mean score on the examples held out, after adapting to those seen."""


def folds(targets: NDArray[np.generic], n_folds: int, seed: int) -> Folds:
    """Folds whose sizes differ by one example at most, and in which every class has its share.

    Args:
        targets: (n,) class ids, whole numbers; any other targets, (n, ...), are one stratum.
        n_folds: the most; never more than the rarest class has labels, so that every fold has every class.
        seed: of the assignment to folds, which depends on nothing else.

    Returns:
        Ascending indices; no folds where the rarest class has one label, for nothing could be held out.
    """
    return _dealt(targets, min(n_folds, _rarest(targets)), seed)


def _rarest(targets: NDArray[np.generic]) -> int:
    """The number of labels of the rarest class."""
    if len(targets) == 0:
        return 0
    return int(np.unique(_strata(targets), return_counts=True)[1].min())


def _strata(targets: NDArray[np.generic]) -> NDArray[np.generic]:
    is_class_ids = targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)
    return targets if is_class_ids else np.zeros(len(targets), dtype=np.int64)


def _dealt(targets: NDArray[np.generic], n_folds: int, seed: int) -> Folds:
    """Folds dealt like cards, class by class and shuffled within: a class spreads over different folds."""
    if n_folds < 2:
        return []
    # Sorted stably after a shuffle: random within a class, so that dealing in turn stratifies the folds.
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    order = shuffled[np.argsort(_strata(targets)[shuffled], kind="stable")]
    fold_of = np.empty(len(targets), dtype=np.int64)
    fold_of[order] = np.arange(len(targets)) % n_folds
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(n_folds)]


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """A mean over folds and its corrected interval, infinite where nothing could be held out.

    `n_folds` may be fewer than requested.
    """

    mean: float
    half_width: float
    standard_error: float
    df: float
    p: float
    n_folds: int
    n_repeats: int


@dataclass(frozen=True, slots=True)
class FoldScores:
    """Candidate -> its scores, (n_repeats, n_folds); the folds are the same for all."""

    values: Mapping[str, NDArray[np.float64]]

    def mean(self, name: str, confidence: float) -> CrossValidated:
        """How good a candidate is."""
        return corrected(self.values[name], confidence)

    def difference(self, ours: str, theirs: str, confidence: float) -> CrossValidated:
        """How much higher one candidate scores than another, paired by folds."""
        return corrected(self.values[ours] - self.values[theirs], confidence)


def corrected(values: NDArray[np.float64], confidence: float) -> CrossValidated:
    """The t interval of scores (n_repeats, n_folds) of repeated cross-validation.

    Folds share most of their training examples, and repeats share all, so that sd / sqrt(n) is far too
    small. Nadeau and Bengio 2003 (Machine Learning 52:239) add to 1 / n the ratio of held-out to seen
    examples, here 1 / (n_folds - 1): variance = (1 / n + 1 / (n_folds - 1)) sd², n = n_repeats n_folds,
    with n - 1 degrees of freedom (Bouckaert and Frank 2004, PAKDD). It is a rule of thumb, since no
    estimator of this variance is unbiased (Bengio and Grandvalet 2004, JMLR 5): of equal classifiers on 20
    and 50 labels, in 2 to 5 folds repeated 5 times, it called 2-7 % different, plain t 40-51 %.
    """
    n_repeats, n_folds = values.shape
    mean = float(values.mean()) if values.size else math.nan
    if values.size < 2 or n_folds < 2 or not np.isfinite(values).all():
        return CrossValidated(mean, math.inf, math.inf, math.nan, math.nan, n_folds, n_repeats)
    df = values.size - 1
    error = math.sqrt(1 / values.size + 1 / (n_folds - 1)) * float(values.std(ddof=1))
    half_width = float(stdtrit(df, 0.5 + confidence / 2)) * error
    p = 2 * float(stdtr(df, -abs(mean) / error)) if error > 0.0 else float(mean == 0.0)
    return CrossValidated(mean, half_width, error, df, p, n_folds, n_repeats)


def to_estimate(
    score: Score, targets: NDArray[np.generic], *, n_folds: int, n_repeats: int, seed: int
) -> FoldScores:
    """Scores of every candidate in few folds, dealt anew `n_repeats` times (see the head of this file).

    The learner that is scored saw 1 - 1 / n_folds of the labels. Without folds there are no
    candidates.
    """
    # Independent seeds from one: seed, seed + 1, ... would repeat the splits of the neighbouring run.
    seeds = np.random.SeedSequence(seed).generate_state(n_repeats)
    repeats = [[score(seen, held_out) for seen, held_out in folds(targets, n_folds, int(s))] for s in seeds]
    names = repeats[0][0] if repeats and repeats[0] else {}
    return FoldScores({name: np.array([[fold[name] for fold in r] for r in repeats]) for name in names})


def to_select(
    score: Score, targets: NDArray[np.generic], *, max_folds: int, seed: int, higher_is_better: bool
) -> str | None:
    """The candidate with the best mean over all examples, each held out once; the first among equals.

    In as many folds as there are examples, `max_folds` at most. With more folds than a class has labels, not
    every fold holds that class out, but each is trained on it. None where a class has only one label.
    """
    dealt = _dealt(targets, min(max_folds, len(targets)), seed) if _rarest(targets) > 1 else []
    totals: dict[str, float] = {}
    for seen, held_out in dealt:
        for name, value in score(seen, held_out).items():
            # Weighted by size: the sum over examples does not depend on how they fall into folds.
            totals[name] = totals.get(name, 0.0) + value * len(held_out)
    sign = 1.0 if higher_is_better else -1.0
    return max(totals, key=lambda name: sign * totals[name], default=None)
