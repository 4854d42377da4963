"""Which of several learners to take, by answers to the same held-out labels, and what having chosen costs.

Few labels seldom settle it: the one that did best was partly lucky. So a rule that was stated before names a
favourite, another one takes its place only where cross-validation is sure of it, and the winner's score is
what is left of it on examples that had no part in the choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from coldstart_cli.metrics.significance import holm

DRAWS = 1000
"""Bootstrap samples that tell how much of a winner's score is luck."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The learner that is taken.

    Attributes:
        winner: its place among the candidates.
        p: adjusted one-sided p of each candidate against the favourite; nan of the favourite itself.
        settled: whether cross-validation overruled the favourite.
        tied: candidates that it cannot tell from the winner, by place, the winner left out.
        luck: what the winner's mean score is expected to lose on other examples, for having been chosen.
    """

    winner: int
    p: tuple[float, ...]
    settled: bool
    tied: tuple[int, ...]
    luck: float


def choose(
    scores: NDArray[np.float64], clusters: NDArray[np.int64], favourite: int, *, alpha: float, seed: int
) -> Choice:
    """The favourite, or the best of those that are surely better.

    A candidate is surely better where an exact sign test over clusters says so (for right and wrong answers
    McNemar's, 1947), after Holm's correction for all candidates. `luck` is the bootstrap's: Tsamardinos,
    Greasidou and Borboudakis 2018 (Machine Learning 107:1895), the bias-corrected cross-validation: clusters
    are drawn with replacement, the choice is made on those drawn, and the chosen is scored on the others.

    Args:
        scores: (n, n_candidates) of each held-out example, the higher the better: 1 for a right answer.
        clusters: (n,) which examples come together.
        favourite: place of the rule's candidate.
        alpha: of the tests.
        seed: of the bootstrap.
    """
    sums, sizes = _by_cluster(scores, clusters)
    every = np.ones(len(sizes))
    winner, adjusted = _chosen(sums, sizes, every, favourite, alpha)
    against = _one_sided(sums, winner, every)
    backwards = _one_sided(-sums, winner, every)
    tied = tuple(
        place
        for place in range(scores.shape[1])
        if place != winner and min(1.0, 2 * min(against[place], backwards[place])) > alpha
    )
    luck = _luck(sums, sizes, favourite, winner, alpha, seed)
    return Choice(winner, tuple(adjusted.tolist()), winner != favourite, tied, luck)


def _by_cluster(
    scores: NDArray[np.float64], clusters: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of the scores (n_clusters, n_candidates), and how many examples each cluster has."""
    names, of = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(names), scores.shape[1]))
    np.add.at(sums, of, scores)
    return sums, np.bincount(of).astype(np.float64)


def _chosen(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    drawn: NDArray[np.float64],
    favourite: int,
    alpha: float,
) -> tuple[int, NDArray[np.float64]]:
    """The winner where cluster i counts `drawn[i]` times, and adjusted p against the favourite."""
    p = _one_sided(sums, favourite, drawn)
    p[favourite] = np.nan
    adjusted = np.array(holm(p.tolist()))
    means = drawn @ sums / (drawn @ sizes)
    surely = np.flatnonzero(adjusted < alpha)  # never the favourite: a nan is not less
    return (int(surely[means[surely].argmax()]) if len(surely) else favourite), adjusted


def _one_sided(sums: NDArray[np.float64], than: int, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """p of each candidate, of being no better than another one, by the clusters that tell them apart."""
    difference = sums - sums[:, [than]]
    better, worse = drawn @ (difference > 1e-9), drawn @ (difference < -1e-9)
    # P(X >= better) of a fair coin thrown better + worse times
    return np.where(better > 0, bdtrc(np.maximum(better - 1, 0), (better + worse).astype(int), 0.5), 1.0)


def _luck(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    favourite: int,
    winner: int,
    alpha: float,
    seed: int,
) -> float:
    """The winner's mean minus the mean, over bootstrap samples, of who would have won on those left out."""
    if sums.shape[1] < 2 or len(sizes) < 2:
        return 0.0
    generator, found = np.random.default_rng(seed), []
    for _ in range(DRAWS):
        drawn = np.bincount(generator.integers(len(sizes), size=len(sizes)), minlength=len(sizes))
        out = drawn == 0
        if out.any():
            chosen, _ = _chosen(sums, sizes, drawn.astype(np.float64), favourite, alpha)
            found.append((sums[out, chosen].sum(), sums[out, winner].sum(), sizes[out].sum()))
    of_chosen, of_winner, n = np.array(found).sum(0) if found else (0.0, 0.0, 1.0)
    return max(0.0, float((of_winner - of_chosen) / n))
