"""Which examples to label next, by their features: typical and diverse ones, or uncertain and diverse ones.

Typical: TypiClust (Hacohen, Dekel and Weinshall 2022, arXiv:2202.02794, section 3): the features are put into
as many clusters as there will be labels, and of each of the largest clusters without a label the example is
taken that is most typical: 1 / the mean distance to its nearest neighbours. Uncertain: the examples with
the least margin are clustered, and the least margin of each cluster is taken (after Citovsky et al. 2021,
arXiv:2107.14263). Everything is linear in the examples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float32]
Whole = NDArray[np.int64]

FEW = 3.0
"""Labels for each class below which typical examples teach more than uncertain ones; decided on intents of
BANKING77 and CLINC150 that `benchmarks.label_next` does not report."""
NEIGHBOURS = 20
"""Of an example, by which it is typical; as in the paper."""
SMALLEST = 5
"""Clusters with fewer examples are taken last; as in the paper."""
COMPARED = 2048
"""Members of a cluster, at most, among which neighbours are looked for."""
ROUNDS = 25
"""Of Lloyd's algorithm, at most."""
UNCERTAIN = 10
"""Times as many of the least margins as are to be taken are clustered."""
AT_ONCE = 1 << 24
"""Distances that are held at once."""


def typical(x: Reals, labelled: Reals, n: int, seed: int) -> Whole:
    """n of the examples x (m, d), in the order in which they are worth a label.

    Args:
        labelled: (l, d) examples that have a label already; what is like them is not taken first.
    """
    generator = np.random.default_rng(seed)
    both = np.concatenate([labelled, x])
    of = clusters(both, min(len(both), len(labelled) + n), generator)
    counts = np.bincount(of[: len(labelled)], minlength=of.max() + 1)
    own = of[len(labelled) :]
    sizes = np.bincount(own, minlength=of.max() + 1)
    left, taken = [np.flatnonzero(own == c) for c in range(len(sizes))], list[int]()
    ranked: dict[int, list[int]] = {}
    while len(taken) < min(n, len(x)):
        free = [c for c in range(len(sizes)) if sizes[c]]
        c = min(free, key=lambda c: (sizes[c] < SMALLEST and counts[c] == 0, counts[c], -sizes[c]))
        if c not in ranked:
            order = np.argsort(-typicality(x[left[c]], generator), kind="stable")
            ranked[c] = left[c][order].tolist()
        taken.append(ranked[c].pop(0))
        sizes[c] -= 1
        counts[c] += 1
    return np.array(taken, dtype=np.int64)


def uncertain(x: Reals, margins: NDArray[np.float64], n: int, seed: int) -> Whole:
    """n of the examples x (m, d), the least margin (m,) first: the least of each of n clusters."""
    near = np.argsort(margins, kind="stable")[: UNCERTAIN * n]
    of = clusters(x[near], min(n, len(near)), np.random.default_rng(seed))
    # The first of each cluster, then the second, ...: clusters may be fewer than n.
    rank = np.empty(len(near), dtype=np.int64)
    for c in range(int(of.max()) + 1 if len(of) else 0):
        members = np.flatnonzero(of == c)
        rank[members] = np.arange(len(members))
    order = np.lexsort((np.arange(len(near)), rank))[:n]
    return near[np.sort(order)]


def typicality(x: Reals, generator: np.random.Generator) -> NDArray[np.float64]:
    """(m,) 1 / the mean distance to the nearest other members, among `COMPARED` of them at most."""
    if len(x) < 2:
        return np.ones(len(x))
    others = x if len(x) <= COMPARED else x[generator.choice(len(x), COMPARED, replace=False)]
    k = min(NEIGHBOURS, len(others) - 1)
    found = np.empty(len(x))
    step = max(1, AT_ONCE // len(others))
    for start in range(0, len(x), step):
        squares = _squares(x[start : start + step], others)
        # The nearest of those in `others` is itself, at distance 0.
        nearest = np.partition(squares, k, axis=1)[:, : k + 1]
        found[start : start + step] = np.sqrt(nearest).sum(1) / k
    return np.asarray(1 / np.maximum(found, 1e-12))


def clusters(x: Reals, k: int, generator: np.random.Generator) -> Whole:
    """(m,) clusters by Lloyd's algorithm, begun as k-means++ (Arthur and Vassilvitskii 2007, SODA)."""
    centres = _spread(x, k, generator)
    of = np.full(len(x), -1, dtype=np.int64)
    for _ in range(ROUNDS):
        now = _nearest(x, centres)
        if (now == of).all():
            break
        of = now
        sizes = np.bincount(of, minlength=k)
        sums = np.zeros_like(centres)
        np.add.at(sums, of, x)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return of


def _spread(x: Reals, k: int, generator: np.random.Generator) -> Reals:
    """k examples, each drawn in proportion to the squared distance from those before."""
    chosen = [int(generator.integers(len(x)))]
    squares = _squares(x, x[chosen])[:, 0]
    while len(chosen) < k:
        total = float(squares.sum())
        if not total > 0:  # as many different examples as there are
            break
        # The cumulated sum, for a probability for each would have to add up to one exactly.
        drawn = int(np.searchsorted(np.cumsum(squares, dtype=np.float64), generator.random() * total))
        chosen.append(min(drawn, len(x) - 1))
        squares = np.minimum(squares, _squares(x, x[chosen[-1:]])[:, 0])
    return x[chosen]


def _nearest(x: Reals, centres: Reals) -> Whole:
    step = max(1, AT_ONCE // len(centres))
    parts = [_squares(x[i : i + step], centres).argmin(1) for i in range(0, len(x), step)]
    return np.concatenate(parts).astype(np.int64)


def _squares(x: Reals, y: Reals) -> Reals:
    """(m, l) squared distances, at least 0."""
    products = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * (x @ y.T)
    return np.asarray(np.maximum(products, 0.0), dtype=np.float32)
