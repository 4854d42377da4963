"""Cross-validation of one small support set: the folds, estimating and choosing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from coldstart_cli.training.cross_validation import folds, to_estimate, to_select

Indices = NDArray[np.int64]
labels = st.lists(st.integers(0, 3), min_size=1, max_size=30)


@given(labels, st.integers(2, 8), st.integers(0, 100))
def test_folds_hold_out_what_can_be_judged_once_and_see_every_class(
    targets: list[int], n_folds: int, seed: int
) -> None:
    sizes = Counter(targets)
    found = folds(np.array(targets), n_folds, seed)
    judged = [i for i, label in enumerate(targets) if sizes[label] > 1]
    assert sorted(i for _, held_out in found for i in held_out) == judged
    for seen, held_out in found:
        assert sorted([*seen, *held_out]) == list(range(len(targets)))
        assert {targets[i] for i in seen} == set(targets)
    for label in set(targets) if found else ():
        shares = [sum(targets[i] == label for i in held_out) for _, held_out in found]
        assert max(shares) - min(shares) <= 1


def test_one_small_class_does_not_decide_the_number_of_folds() -> None:
    assert len(folds(np.repeat([0, 1, 2], [8, 8, 2]), 8, 0)) == 8
    assert len(folds(np.repeat([0, 1, 2], [8, 8, 1]), 8, 0)) == 8
    assert len(folds(np.repeat([0, 1], [2, 2]), 8, 0)) == 2
    for _, held_out in folds(np.repeat([0, 1, 2], 4), 8, 0):
        assert sorted(held_out // 4) == [0, 1, 2]  # one of each class: those that are seen are of one size


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=30), st.integers(2, 5))
def test_folds_never_divide_a_group(rows: list[tuple[int, int]], n_folds: int) -> None:
    targets, groups = (np.array(column) for column in zip(*rows, strict=True))
    for seen, held_out in folds(targets, n_folds, 0, groups):
        assert set(targets[seen]) == set(targets)
        assert not set(groups[seen]) & set(groups[held_out])


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


class Means:
    """Predicts a number by the mean of those seen, and another one by what is off by a constant."""

    def __init__(self, targets: NDArray[np.float64], off: float) -> None:
        self.targets, self.off = targets, off
        self.asked: list[tuple[Indices, Indices]] = []

    def __call__(self, seen: Indices, held_out: Indices) -> dict[str, float]:
        self.asked.append((seen, held_out))
        error = self.targets[held_out] - self.targets[seen].mean()
        return {"off": float(np.mean((error - self.off) ** 2)), "mean": float(np.mean(error**2))}


def test_estimate_deals_anew_each_time() -> None:
    found = to_estimate(np.zeros(12), n_folds=3, n_repeats=4, seed=5)
    assert [len(repeat) for repeat in found] == [3, 3, 3, 3]
    parts = [tuple(held_out) for repeat in found for _, held_out in repeat]
    assert {len(part) for part in parts} == {4} and len(set(parts)) > 3
    again = to_estimate(np.zeros(12), n_folds=3, n_repeats=4, seed=5)
    assert parts == [tuple(held_out) for repeat in again for _, held_out in repeat]
    assert to_estimate(np.arange(3), n_folds=2, n_repeats=3, seed=0) == [[], [], []]


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
    assert found == ("only" if max(Counter(targets).values()) > 1 else None)


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
