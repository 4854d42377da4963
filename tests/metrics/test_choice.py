"""The choice among learners, against scipy's exact test and against draws where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from coldstart_cli.metrics.choice import choose


def answers(n: int, *shares: float, seed: int = 0) -> np.ndarray:
    """(n, n_candidates) right or wrong, independent."""
    return (np.random.default_rng(seed).random((n, len(shares))) < np.array(shares)).astype(float)


def test_p_is_that_of_mcnemar_corrected_for_all_that_were_tried() -> None:
    scores = np.zeros((20, 3))
    scores[:9, 1], scores[9:11, 0] = 1, 1  # 1 is right on nine that 0 misses, 0 on two that 1 misses
    scores[:4, 2] = 1  # 2 is right on four, wrong on the two
    p = binomtest(9, 11, 0.5, alternative="greater").pvalue
    found = choose(scores, np.arange(20), 0, alpha=1.01 * p, seed=0)
    assert found.winner == 1 and found.overruled and found.p == pytest.approx(2 * p)
    kept = choose(scores, np.arange(20), 0, alpha=0.99 * p, seed=0)
    assert kept.winner == 0 and not kept.overruled and np.isnan(kept.p) and set(kept.tied) == {1, 2}
    other = choose(scores, np.arange(20), 2, alpha=0.5, seed=0)
    second = binomtest(5, 5, 0.5, alternative="greater").pvalue
    assert other.winner == 1 and other.p == pytest.approx(2 * second)


def test_examples_of_one_origin_are_one_vote() -> None:
    scores = np.zeros((30, 2))
    scores[:, 1] = 1
    assert choose(scores, np.arange(30), 0, alpha=0.05, seed=0).winner == 1
    assert choose(scores, np.arange(30) % 3, 0, alpha=0.05, seed=0).winner == 0


def test_a_clear_difference_displaces_the_favourite_and_none_keeps_it() -> None:
    found = choose(answers(200, 0.6, 0.9, 0.6), np.arange(200), 0, alpha=0.05, seed=0)
    assert found.winner == 1 and found.overruled and found.tied == () and found.luck < 0.01
    assert choose(answers(200, 0.7, 0.7, 0.7), np.arange(200), 2, alpha=0.05, seed=0).winner == 2


def test_luck_is_what_the_best_of_equals_loses_on_other_examples() -> None:
    won, after = [], []
    for seed in range(40):
        scores = answers(40, *[0.5] * 8, seed=seed)
        found = choose(scores, np.arange(40), 0, alpha=1.0, seed=seed)
        won.append(scores[:, found.winner].mean())
        after.append(won[-1] - found.luck)
    assert np.mean(won) > 0.55  # though all of them are right in one case of two
    assert np.mean(after) == pytest.approx(0.5, abs=0.025)


def test_one_candidate_wins_without_luck() -> None:
    found = choose(answers(10, 0.5), np.arange(10), 0, alpha=0.05, seed=0)
    assert (found.winner, found.luck, found.tied) == (0, 0.0, ())


def test_errors_are_scores_below_zero() -> None:
    errors = np.random.default_rng(0).random((50, 1)) * np.array([[1.0, 0.1]])
    assert choose(-errors, np.arange(50), 0, alpha=0.05, seed=0).winner == 1
