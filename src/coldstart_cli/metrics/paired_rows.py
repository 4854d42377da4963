"""Two predictors on the same held-out rows of one task: how much better one is, and whether that is luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, ndtri, stdtrit

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairedRows:
    """The mean of a less b, its interval, and a two-sided p; nan ends of one cluster of reals."""

    difference: float
    low: float
    high: float
    p: float


def paired_rows(
    a: Reals, b: Reals, clusters: NDArray[np.int64], *, shares: bool, confidence: float
) -> PairedRows:
    """Of rows that both have answered.

    p is of the exact sign test over clusters, for right and wrong answers McNemar's (1947). The interval of
    shares is Agresti and Min's (2005, Statistics in Medicine 24:729), Wald's after half a pair is added to
    each of the four cells: it is not empty where the two say the same of every row. That of reals is
    Student's.

    Args:
        a, b: (n,) the higher the better.
        clusters: (n,) rows that belong together count as one.
        shares: a and b are in [0, 1].
    """
    names, of = np.unique(clusters, return_inverse=True)
    n = len(names)
    each = np.bincount(of, a - b) * (n / len(a))  # so that their mean is that of the rows
    better, worse = int((each > 1e-9).sum()), int((each < -1e-9).sum())
    tail = float(bdtrc(max(better, worse) - 1, better + worse, 0.5)) if better + worse else 1.0
    mean = float(each.mean())
    if shares:
        # Half a pair in each cell: two pairs more, whose differences sum to 0 and their squares to 1
        middle = float(each.sum() / (n + 2))
        spread = float(np.sqrt(((each**2).sum() + 1) / (n + 2) - middle**2) / np.sqrt(n + 2))
        half = float(ndtri((1 + confidence) / 2)) * spread
        return PairedRows(mean, max(-1.0, middle - half), min(1.0, middle + half), min(1.0, 2 * tail))
    if n < 2:
        return PairedRows(mean, np.nan, np.nan, 1.0)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(each.std(ddof=1) / np.sqrt(n))
    return PairedRows(mean, mean - half, mean + half, min(1.0, 2 * tail))
