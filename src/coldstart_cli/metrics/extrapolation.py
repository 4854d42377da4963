"""How much better with more labels: a learning curve over few labels, drawn out to more of them.

The share of wrong answers after k labels a class is taken to fall as c + a k^-b (Hestness et al. 2017,
arXiv:1712.00409). Few labels leave b and c open, so that all of them are kept, each weighed by how well it
fits: what is said of more labels is then as unsure as it should be. `python -m benchmarks.more_labels` counts
how often the intervals hold what comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATES = np.linspace(0.1, 1.6, 16)
FLOORS = np.linspace(0.0, 0.8, 17)
"""Of the curve: b, and c as a share of the errors after the most labels."""
CORRELATED = 8.0
"""As many answers to held-out labels tell as much of the curve's form as one independent answer."""
LUCK = 0.8
"""Of new labels: the standard deviation of a gain is this share of sqrt(error / labels)."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What more labels bring: a share of right answers, with its interval."""

    k: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curves:
    """All curves that fit, with their weights (n,): error = c + a k^-b."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    c: NDArray[np.float64]
    weights: NDArray[np.float64]
    k: float
    n: int

    def error(self, k: float) -> NDArray[np.float64]:
        """(n,) the share of wrong answers after k labels a class, of each curve."""
        found: NDArray[np.float64] = self.c + self.a * k**-self.b
        return found

    def gain(self, k: float, confidence: float) -> Gain:
        """What k labels a class bring beyond those there are."""
        gains = self.error(self.k) - self.error(k)
        mean = float(self.weights @ gains)
        now = float(self.weights @ self.error(self.k))
        spread = LUCK * np.sqrt(max(now, 1e-4) / self.n) * np.sqrt(1 - self.k / k)
        z = np.linspace(-2.5, 2.5, 21)
        likely = np.exp(-(z**2) / 2)
        values = (gains[:, None] + spread * z).ravel()
        weights = (self.weights[:, None] * likely / likely.sum()).ravel()
        tail = (1 - confidence) / 2
        low, high = (_quantile(values, weights, share) for share in (tail, 1 - tail))
        return Gain(k, mean, low, min(high, now))

    def labels_for(self, gain: float, most: float) -> float | None:
        """The least k a class that brings so much, a share of right answers; None where `most` do not."""
        ks = np.arange(np.ceil(self.k), most + 1)
        reached = [k for k in ks if self.weights @ (self.error(self.k) - self.error(float(k))) >= gain]
        return float(reached[0]) if reached else None


def curves(sizes: Sequence[float], shares: Sequence[float], n: int, k: float) -> Curves:
    """All curves through the shares of right answers after learning from `sizes` labels a class.

    Args:
        sizes: labels a class; of classes of different size, their mean.
        shares: of right answers to labels that were held out.
        n: labels in all.
        k: labels a class that there are, the mean of all classes.
    """
    x, errors = np.asarray(sizes, dtype=np.float64), 1 - np.asarray(shares, dtype=np.float64)
    smooth = (errors * n + 0.5) / (n + 1)  # no error among few labels is not none
    weight = n / CORRELATED / np.maximum(smooth * (1 - smooth), 1e-4)
    least = float(smooth[x.argmax()])
    b, c = (grid.ravel() for grid in np.meshgrid(RATES, FLOORS * least, indexing="ij"))
    basis = x[None, :] ** -b[:, None]
    a = np.maximum(0.0, (weight * basis * (smooth - c[:, None])).sum(1) / (weight * basis**2).sum(1))
    misfit = (weight * (smooth - c[:, None] - a[:, None] * basis) ** 2).sum(1)
    likely = np.exp(-(misfit - misfit.min()) / 2)
    return Curves(a, b, c, likely / likely.sum(), k, n)


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    order = values.argsort()
    return float(values[order][np.searchsorted(weights[order].cumsum(), share).clip(max=len(order) - 1)])
