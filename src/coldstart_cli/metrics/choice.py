"""Which of several learners to take, by answers to the same held-out labels, and what having chosen costs.

Few labels seldom settle it: the one that did best was partly lucky. So a rule that was stated before names a
favourite, another one takes its place only where held-out labels speak for it, and the winner's score is
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
SURE = 0.05
"""Level at which a difference is said to be one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The learner that is taken.

    Attributes:
        winner: its place among the candidates.
        overruled: whether labels spoke against the favourite.
        p: of the winner against the favourite, one-sided, for all candidates together (Holm 1979); nan where
            the favourite won.
        tied: candidates that cannot be told from the winner, by place, the winner left out.
        luck: what the winner's mean score is expected to lose on other examples, for having been chosen.
    """

    winner: int
    overruled: bool
    p: float
    tied: tuple[int, ...]
    luck: float


def choose(
    scores: NDArray[np.float64], clusters: NDArray[np.int64], favourite: int, *, alpha: float, seed: int
) -> Choice:
    """The favourite, or the best of those that the labels speak for.

    They speak for a candidate where an exact one-sided sign test over clusters does (of right and wrong
    answers McNemar's, 1947) at level `alpha`. That many are tried makes it no harder for one of them, since
    to take one of two equals costs nothing; but a difference is claimed only after Holm's correction. `luck`
    is the bootstrap's, bias-corrected cross-validation: Tsamardinos, Greasidou and Borboudakis 2018 (Machine
    Learning 107:1895). Clusters are drawn with replacement, the choice is made on those drawn, and the chosen
    is scored on the others.

    Args:
        scores: (n, n_candidates) of each held-out example, the higher the better: 1 for a right answer.
        clusters: (n,) which examples come together.
        favourite: place of the rule's candidate.
        alpha: of the choice; 0: always the favourite.
        seed: of the bootstrap.
    """
    sums, sizes = _by_cluster(scores, clusters)
    once = np.ones((1, len(sizes)))
    winner = int(_chosen(sums, sizes, once, favourite, alpha)[0])
    others = [place for place in range(scores.shape[1]) if place != favourite]
    against = _one_sided(sums, favourite, once)[0]
    claimed = dict(zip(others, holm(against[others].tolist()), strict=True))
    better, worse = _one_sided(sums, winner, once)[0], _one_sided(-sums, winner, once)[0]
    two_sided = np.minimum(1.0, 2 * np.minimum(better, worse))
    tied = tuple(place for place in range(scores.shape[1]) if place != winner and two_sided[place] > SURE)
    luck = _luck(sums, sizes, favourite, winner, alpha, seed)
    return Choice(winner, winner != favourite, claimed.get(winner, np.nan), tied, luck)


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
) -> NDArray[np.int64]:
    """(n_draws,) the winners where cluster i counts `drawn[draw, i]` times."""
    spoken_for = _one_sided(sums, favourite, drawn) < alpha
    spoken_for[:, favourite] = True
    means = drawn @ sums / (drawn @ sizes)[:, None]
    winners: NDArray[np.int64] = np.where(spoken_for, means, -np.inf).argmax(1)
    return winners


def _one_sided(sums: NDArray[np.float64], than: int, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_draws, n_candidates) p of being no better than another one, by the clusters that tell them apart."""
    difference = sums - sums[:, [than]]
    better, worse = drawn @ (difference > 1e-9), drawn @ (difference < -1e-9)
    # P(X >= better) of a fair coin that is thrown better + worse times
    thrown = (better + worse).astype(np.int64)
    return np.where(better > 0, bdtrc(np.maximum(better - 1, 0), thrown, 0.5), 1.0)


def _luck(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    favourite: int,
    winner: int,
    alpha: float,
    seed: int,
) -> float:
    """The winner's mean less that of who would have won, over bootstrap samples, on what these left out."""
    n = len(sizes)
    if sums.shape[1] < 2 or n < 2:
        return 0.0
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
    drawn = drawn[(drawn == 0).any(1)]
    chosen, out = _chosen(sums, sizes, drawn, favourite, alpha), (drawn == 0).astype(np.float64)
    left = out @ sums
    lost = left[:, winner] - left[np.arange(len(drawn)), chosen]
    return max(0.0, float(lost.sum() / (out @ sizes).sum()))
