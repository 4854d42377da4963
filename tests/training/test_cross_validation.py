"""Cross-validation of one small support set: the folds, the corrected interval, estimating and choosing."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from coldstart_cli.training.cross_validation import FoldScores, corrected, folds, to_estimate, to_select

Indices = NDArray[np.int64]
labels = st.lists(st.integers(0, 3), min_size=1, max_size=30)


@given(labels, st.integers(2, 8), st.integers(0, 100))
def test_folds_hold_out_every_example_once_and_every_class_each_time(
    targets: list[int], n_folds: int, seed: int
) -> None:
    rarest = min(Counter(targets).values())
    found = folds(np.array(targets), n_folds, seed)
    assert len(found) == (min(n_folds, rarest) if rarest > 1 else 0)
    for seen, held_out in found:
        assert sorted([*seen, *held_out]) == list(range(len(targets)))
        for part in (seen, held_out):
            assert {targets[i] for i in part} == set(targets)
    if found:
        assert sorted(i for _, held_out in found for i in held_out) == list(range(len(targets)))
        sizes = [len(held_out) for _, held_out in found]
        assert max(sizes) - min(sizes) <= 1
        for label in set(targets):
            shares = [sum(targets[i] == label for i in held_out) for _, held_out in found]
            assert max(shares) - min(shares) <= 1


def test_folds_are_a_function_of_their_seed() -> None:
    targets = np.arange(40) % 2
    one, again, other = (folds(targets, 4, seed) for seed in (3, 3, 4))
    assert all(
        np.array_equal(a, b) for pair in zip(one, again, strict=True) for a, b in zip(*pair, strict=True)
    )
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(one, other, strict=True))
    assert one[0][1].tolist() != list(range(0, 40, 4))  # drawn, not counted off


@pytest.mark.parametrize(
    "targets", [np.linspace(0, 1, 7), np.zeros((7, 2)), np.zeros((7, 1), dtype=np.int64)]
)
def test_folds_of_a_regression_know_no_classes(targets: NDArray[Any]) -> None:
    assert [len(folds(targets, n, 0)) for n in (1, 2, 5, 9)] == [0, 2, 5, 7]
    assert folds(targets[:1], 5, 0) == folds(targets[:0], 5, 0) == []


def test_corrected_interval_by_hand() -> None:
    # Ten repeats of ten folds: variance (1/100 + 1/9) sd2, 99 degrees of freedom (Bouckaert and Frank 2004).
    values = np.random.default_rng(0).normal(0.1, 0.2, (10, 10))
    ours = corrected(values, 0.95)
    error = math.sqrt(1 / 100 + 1 / 9) * np.std(values, ddof=1)
    assert (ours.mean, ours.standard_error) == (pytest.approx(values.mean()), pytest.approx(error))
    assert ours.half_width == pytest.approx(stats.t.ppf(0.975, 99) * error)
    assert ours.p == pytest.approx(2 * stats.t.sf(abs(values.mean()) / error, 99))
    assert (ours.df, ours.n_folds, ours.n_repeats) == (99, 10, 10)


def test_corrected_interval_claims_nothing_of_too_little() -> None:
    for values in (np.ones((1, 1)), np.ones((5, 1)), np.zeros((3, 0)), np.array([[1.0, math.nan]])):
        ours = corrected(values, 0.95)
        assert (ours.half_width, math.isnan(ours.p)) == (math.inf, True)
    assert corrected(np.ones((2, 3)), 0.95).p == 0.0
    assert corrected(np.zeros((2, 3)), 0.95).p == 1.0


class Means:
    """Predicts a number by the mean of those seen, and another one by what is off by a constant."""

    def __init__(self, targets: NDArray[np.float64], off: float) -> None:
        self.targets, self.off = targets, off
        self.asked: list[tuple[Indices, Indices]] = []

    def __call__(self, seen: Indices, held_out: Indices) -> dict[str, float]:
        self.asked.append((seen, held_out))
        error = self.targets[held_out] - self.targets[seen].mean()
        return {"off": float(np.mean((error - self.off) ** 2)), "mean": float(np.mean(error**2))}


def test_estimate_repeats_few_folds_dealt_anew() -> None:
    targets = np.random.default_rng(0).normal(size=12)
    score = Means(targets, 1.0)
    found = to_estimate(score, targets, n_folds=3, n_repeats=4, seed=5)
    assert len(score.asked) == 12
    assert all(len(held_out) == 4 for _, held_out in score.asked)
    assert len({tuple(held_out) for _, held_out in score.asked}) > 3  # other folds each time
    assert {name: values.shape for name, values in found.values.items()} == {"off": (4, 3), "mean": (4, 3)}
    seen, held_out = score.asked[5]
    assert found.values["mean"][1, 2] == pytest.approx(
        np.mean((targets[held_out] - targets[seen].mean()) ** 2)
    )
    again = to_estimate(Means(targets, 1.0), targets, n_folds=3, n_repeats=4, seed=5)
    assert np.array_equal(found.values["off"], again.values["off"])


def test_estimate_of_a_difference_is_paired() -> None:
    draw = np.random.default_rng(1)
    hard = draw.normal(0.0, 10.0, (5, 4))
    scores = FoldScores({"a": hard + 1.0, "b": hard + draw.normal(0.0, 0.1, (5, 4))})
    difference = scores.difference("a", "b", 0.95)
    assert difference.mean == pytest.approx(1.0, abs=0.1)
    assert difference.half_width < 0.2 < scores.mean("a", 0.95).half_width
    assert scores.mean("a", 0.95) == corrected(hard + 1.0, 0.95)


def test_estimate_of_one_label_a_class_has_no_candidates() -> None:
    targets = np.array([0, 1, 2])
    assert (
        to_estimate(Means(targets.astype(float), 1.0), targets, n_folds=2, n_repeats=3, seed=0).values == {}
    )


def test_corrected_interval_rarely_calls_equal_learners_different() -> None:
    # Two classifiers by the nearest mean, each on features of its own, equally good: which is why plain t
    # over folds, which share what they are trained on, must not be used.
    targets = np.arange(20) % 2
    wrong = {"corrected": 0, "plain": 0}
    for number in range(150):
        draw = np.random.default_rng(number)
        inputs = draw.normal(size=(20, 2, 4)) + 0.3 * (2 * targets - 1)[:, None, None]

        def score(seen: Indices, held_out: Indices, inputs: NDArray[np.float64] = inputs) -> dict[str, float]:
            zero, one = (inputs[seen][targets[seen] == label].mean(0) for label in (0, 1))
            says = np.sum((inputs[held_out] - (zero + one) / 2) * (one - zero), -1) > 0  # (n, 2)
            first, second = (says == (targets[held_out] == 1)[:, None]).mean(0)
            return {"first": float(first), "second": float(second)}

        found = to_estimate(score, targets, n_folds=2, n_repeats=5, seed=number)
        difference = (found.values["first"] - found.values["second"]).ravel()
        wrong["corrected"] += found.difference("first", "second", 0.95).p < 0.05
        wrong["plain"] += abs(difference.mean()) > stats.t.ppf(0.975, 9) * difference.std(ddof=1) / math.sqrt(
            10
        )
    assert wrong["corrected"] <= 0.1 * 150
    assert wrong["plain"] > 0.3 * 150


def test_selection_leaves_out_one_example_at_a_time_up_to_the_cap() -> None:
    targets = np.array([0, 0, 1, 1, 1, 0, 1])
    values = targets.astype(float)
    for max_folds, sizes in ((50, [1] * 7), (7, [1] * 7), (3, [2, 2, 3])):
        score = Means(values, 1.0)
        assert to_select(score, targets, max_folds=max_folds, seed=0, higher_is_better=False) == "mean"
        assert sorted(len(held_out) for _, held_out in score.asked) == sizes
        assert sorted(i for _, held_out in score.asked for i in held_out) == list(range(7))
        assert all({0, 1} == set(targets[seen]) for seen, _ in score.asked)


@given(labels, st.integers(2, 40))
def test_selection_always_trains_on_every_class(targets: list[int], max_folds: int) -> None:
    def score(seen: Indices, held_out: Indices) -> dict[str, float]:
        assert {targets[i] for i in seen} == set(targets)
        return {"only": 0.0}

    found = to_select(score, np.array(targets), max_folds=max_folds, seed=0, higher_is_better=True)
    assert found == ("only" if min(Counter(targets).values()) > 1 else None)


def test_selection_weighs_folds_by_their_examples_and_obeys_the_direction() -> None:
    def score(seen: Indices, held_out: Indices) -> dict[str, float]:
        # By folds "first" is ahead 2 to 1; by examples (1, 1, 2 of four) it is level with "second".
        return {"first": 1.0, "second": 0.0} if len(held_out) == 1 else {"first": 0.0, "second": 1.1}

    targets = np.zeros(4)
    assert to_select(score, targets, max_folds=3, seed=0, higher_is_better=True) == "second"
    assert to_select(score, targets, max_folds=3, seed=0, higher_is_better=False) == "first"


def test_selection_takes_the_first_of_equals() -> None:
    found = to_select(
        lambda seen, held_out: {"b": 0.5, "a": 0.5}, np.zeros(4), max_folds=9, seed=0, higher_is_better=True
    )
    assert found == "b"
