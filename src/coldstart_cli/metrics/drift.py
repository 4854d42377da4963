"""Whether further examples of known classes are like the earlier ones: the energy distance, by permutation.

Szekely and Rizzo (2013, Journal of Statistical Planning and Inference 143:1249). It needs no kernel width, no
bins and no density, and is zero for equal distributions alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 999
LOOKED_AT = 2000
"""Examples that are compared, at most: all their distances are held at once."""
ARRANGEMENTS = 100
"""Of earlier and further ones within the classes; of fewer, no p below .05 says much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far two samples of the same classes lie apart.

    Attributes:
        earlier, further: examples that were compared.
        coefficient: the energy distance beyond chance as a share of its largest value, in [0, 1]; 0: none.
        p: of a distance as large where the two are alike.
    """

    earlier: int
    further: int
    coefficient: float
    p: float


def drift(x: NDArray[np.float64], further: NDArray[np.bool_], classes: NDArray[np.int64]) -> Drift | None:
    """Compares within classes, so that another share of a class, or a new one, is no drift.

    In each class E = 2 mean|a - b| - mean|a - a'| - mean|b - b'| over earlier examples a and further ones b.
    T is the sum of m n / (m + n) E, and the coefficient is T, less what it is on
    average where chance decides which are further ones, over the sum of m n / (m + n) 2 mean|a - b|. The p is
    that of T among rearrangements within the classes.

    Args:
        x: (n, d).
        further: (n,) which of them are not earlier ones.
        classes: (n,) of the examples; zeros of reals.

    Returns:
        None where classes with both kinds have too few examples to tell.
    """
    generator = np.random.default_rng(0)
    both = np.flatnonzero(np.isin(classes, np.intersect1d(classes[further], classes[~further])))
    if len(both) > LOOKED_AT:
        both = np.sort(generator.choice(both, LOOKED_AT, replace=False))
    x, further, classes = x[both], further[both], classes[both]
    members = [
        np.flatnonzero(classes == name) for name in np.intersect1d(classes[further], classes[~further])
    ]
    if sum(_log_arrangements(further[rows]) for rows in members) < math.log(ARRANGEMENTS):
        return None
    found = np.zeros(PERMUTATIONS + 1)
    largest = 0.0
    for rows in members:
        distances = _distances(x[rows])
        which = _rearranged(further[rows], generator)
        m, n = int(further[rows].sum()), int((~further[rows]).sum())
        signs = np.where(which, 1 / m, -1 / n)
        found += m * n / (m + n) * -((signs @ distances) * signs).sum(1)
        own = further[rows]
        largest += m * n / (m + n) * 2 * float(distances[own][:, ~own].mean())
    n_further = sum(int(further[rows].sum()) for rows in members)
    # Rounding must not tell equal arrangements apart
    as_large = int((found[1:] >= found[0] - 1e-9 * max(largest, 1e-300)).sum())
    return Drift(
        earlier=sum(map(len, members)) - n_further,
        further=n_further,
        coefficient=max(0.0, float(found[0] - found[1:].mean()) / largest) if largest > 0 else 0.0,
        p=(1 + as_large) / (1 + PERMUTATIONS),
    )


def _log_arrangements(further: NDArray[np.bool_]) -> float:
    n, m = len(further), int(further.sum())
    return math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1)


def _rearranged(further: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.bool_]:
    """(1 + PERMUTATIONS, n): as it is, then by chance."""
    drawn = np.tile(further, (PERMUTATIONS, 1))
    return np.concatenate([further[None], generator.permuted(drawn, axis=1)])


def _distances(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n) Euclidean."""
    x = x - x.mean(0)
    squares = np.square(x).sum(1)
    found: NDArray[np.float64] = np.sqrt(np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0.0))
    np.fill_diagonal(found, 0.0)
    return found
