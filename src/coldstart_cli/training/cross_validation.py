"""One real task with few labels: what its support set alone tells about a learner.

Shimabucoro, Hospedales and Gouk 2023, arXiv:2307.02732, compared such methods on few-shot tasks: few folds
estimate best how good one learner is, many folds choose best among several.

To estimate, what counts is the error of the number. Folds that hold out equally many examples of each class
leave classes of equal size (leaving out one example shrinks its class alone, which then loses more often:
random labels are answered worse than by chance), and repeating with other folds takes out the luck of the
deal; the price is a learner that saw fewer labels and is a little worse than the one that will be used. To
select, only the order counts, and that depends on how many labels there are: with as many folds as labels
every candidate sees all but one.

No number of folds makes few labels many: the paper finds no estimate of a single task reliable.

What belongs together (the same text twice, all rows of a person) is a *group*: it is held out as a whole, for
what was seen of it would answer the rest. A class with one group cannot be judged; it stays among what is
seen, so that the others are judged beside all the classes there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Folds = list[tuple[Indices, Indices]]
"""(seen, held out) of every fold; the held-out parts together are all that can be judged, each once."""

Score = Callable[[Indices, Indices], Mapping[str, float]]
"""(seen, held out) -> candidate -> its mean score on the examples held out, after adapting to those seen."""


def folds(targets: NDArray[np.generic], n_folds: int, seed: int, groups: Indices | None = None) -> Folds:
    """Folds in which every class has its share, and every group of a class is whole.

    Args:
        targets: (n,) class ids, whole numbers; any other targets, (n, ...), are one stratum.
        n_folds: at most; never more than the groups of a class of median size among those that can be judged,
            so that most folds hold most classes and one small class does not decide for all.
        seed: of the deal, which depends on nothing else.
        groups: (n,) the group of each example; None: each is its own.

    Returns:
        Ascending indices; none where no class has two groups, for nothing could be held out.
    """
    sizes = _groups_of_classes(targets, _or_each_its_own(groups, targets))
    judged = sizes[sizes > 1]
    typical = int(np.median(judged)) if len(judged) else 0
    return dealt(targets, min(n_folds, typical), seed, groups)


def dealt(targets: NDArray[np.generic], n_folds: int, seed: int, groups: Indices | None = None) -> Folds:
    """The same with `n_folds` folds as they are: a class need not be in each.

    Like cards, class by class and in random order within: equal ones fall on different folds, so that every
    class that is held out is also seen.
    """
    owner = _or_each_its_own(groups, targets)
    strata = _strata(targets)
    # A group that two classes share (one text under two labels, a person's rows) is dealt with its rarest
    # class, for that one has the fewest folds to fall on.
    names, first, members = np.unique(owner, return_index=True, return_inverse=True)
    classes, class_of, counts = np.unique(strata, return_inverse=True, return_counts=True)
    rarest = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(rarest, members, counts[class_of] * (len(classes) + 1) + class_of)
    if n_folds < 2 or len(first) < 2:
        return []
    # Sorted stably after a shuffle: random within a class, so that dealing in turn stratifies the folds.
    shuffled = np.random.default_rng(seed).permutation(len(names))
    order = shuffled[np.argsort(rarest[shuffled], kind="stable")]
    fold_of_group = np.empty(len(names), dtype=np.int64)
    fold_of_group[order] = np.arange(len(names)) % n_folds
    fold_of = fold_of_group[members]
    found = []
    for fold in range(n_folds):
        out = fold_of == fold
        # A class that would lie in this fold alone is not held out: nobody could answer with it.
        seen = np.bincount(class_of[~out], minlength=len(classes)) > 0
        out &= seen[class_of]
        # Nor is the rest of its groups, which would be answered by what is seen of them.
        divided = np.bincount(members[~out], minlength=len(names)) > 0
        out &= ~divided[members]
        if out.any():
            found.append((np.flatnonzero(~out), np.flatnonzero(out)))
    return found


def _or_each_its_own(groups: Indices | None, targets: NDArray[np.generic]) -> Indices:
    return np.arange(len(targets)) if groups is None else groups


def _strata(targets: NDArray[np.generic]) -> NDArray[np.generic]:
    is_class_ids = targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)
    return targets if is_class_ids else np.zeros(len(targets), dtype=np.int64)


def _groups_of_classes(targets: NDArray[np.generic], groups: Indices) -> Indices:
    """How many groups each class has, for the classes there are."""
    pairs = np.unique(np.stack([np.unique(_strata(targets), return_inverse=True)[1], groups]), axis=1)
    return np.bincount(pairs[0])


def to_estimate(
    targets: NDArray[np.generic], *, n_folds: int, n_repeats: int, seed: int, groups: Indices | None = None
) -> list[Folds]:
    """Folds to estimate how good one learner is, dealt anew `n_repeats` times (see the head of this file)."""
    seeds = np.random.SeedSequence(seed).generate_state(n_repeats)
    return [folds(targets, n_folds, int(s), groups) for s in seeds]


def to_select(
    score: Score,
    targets: NDArray[np.generic],
    *,
    max_folds: int,
    seed: int,
    higher_is_better: bool,
    groups: Indices | None = None,
) -> str | None:
    """The candidate with the best mean over all that can be held out; the first among equals.

    In as many folds as there are groups, `max_folds` at most. With more folds than examples of a class not
    every fold holds that class, but every one is trained on it. None where nothing can be held out.
    """
    n_groups = len(targets) if groups is None else len(np.unique(groups))
    totals: dict[str, float] = {}
    for seen, held_out in dealt(targets, min(max_folds, n_groups), seed, groups):
        for name, value in score(seen, held_out).items():
            # Weighted by size: the sum over examples does not depend on how they fall into folds.
            totals[name] = totals.get(name, 0.0) + value * len(held_out)
    sign = 1.0 if higher_is_better else -1.0
    return max(totals, key=lambda name: sign * totals[name], default=None)
