"""Metrics and calibration of one task's queries, against arithmetic by hand and by numpy."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from coldstart_cli.core.objectives import N_BINS, Classification, Regression
from coldstart_cli.core.tasks import Calibration


def logits(probabilities: list[list[float]]) -> torch.Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


def softmax(outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    quotients: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return quotients


def test_calibration_by_hand() -> None:
    outputs = logits([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.95, 0.03, 0.02]])
    found = Classification(3).calibration(outputs, torch.tensor([0, 2, 1]), 0.9)
    # (.3^2 + .2^2 + .1^2) + (.5^2 + .3^2 + .8^2) + (.95^2 + .97^2 + .02^2), over 3
    assert found.brier == pytest.approx((0.14 + 0.98 + 1.8438) / 3, abs=1e-6)
    # Sets: {0, 1} with .9, all three with 1, {0} with .95; the classes 0 and 2 lie in theirs, 1 does not.
    assert found.coverage == pytest.approx(2 / 3, abs=1e-6)
    assert found.set_size == pytest.approx((2 + 3 + 1) / 3, abs=1e-6)
    # .5 * 15 = 7.5, .7 * 15 = 10.5, .95 * 15 = 14.25
    assert found.confidence_bins == [[8, 1, 0.5, 0], [11, 1, 0.7, 1], [15, 1, 0.95, 0]]


def test_calibration_sets_of_equal_probabilities_are_as_small_as_they_may_be() -> None:
    outputs, targets = torch.zeros(10, 10), torch.arange(10)
    found = Classification(10).calibration(outputs, targets, 0.9)
    assert (found.coverage, found.set_size, found.brier) == (0.9, 9.0, 0.9)
    assert Classification(10).calibration(outputs, targets, 0.91).set_size == 10.0
    assert Classification(10).calibration(outputs, targets, 0.05).coverage == 0.1


@pytest.mark.parametrize(("n_way", "place"), [(5, 3), (3, 5), (15, 1)])
def test_calibration_bins_hold_their_upper_edge(n_way: int, place: int) -> None:
    # 1/5 = 3/15, 1/3 = 5/15 and 1/15: the edges of bins 3, 5 and 1 of ((m - 1)/15, m/15]
    found = Classification(n_way).calibration(torch.zeros(n_way, n_way), torch.arange(n_way), 0.9)
    assert found.confidence_bins == [[place, n_way, 1.0, 1]]


def test_calibration_of_certainty_is_in_the_last_bin() -> None:
    outputs = torch.tensor([[1e30, 0.0], [0.0, 1e30]])
    found = Classification(2).calibration(outputs, torch.tensor([0, 0]), 0.9)
    assert found == Calibration(1.0, 0.5, 1.0, [[N_BINS, 2, 2.0, 1]])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_calibration_of_what_is_not_finite_is_not_known(bad: float) -> None:
    outputs = torch.tensor([[0.0, 1.0], [bad, 0.0]])
    found = Classification(2).calibration(outputs, torch.tensor([0, 1]), 0.9)
    assert found.confidence_bins is None
    assert all(math.isnan(value) for value in (found.brier, found.coverage, found.set_size))


def test_calibration_of_reals_is_nothing() -> None:
    assert Regression(2).calibration(torch.zeros(3, 2), torch.ones(3, 2), 0.9) is None


@st.composite
def answers(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n, n_way) outputs whose probabilities differ from one another, and targets (n,)."""
    n_way, n = draw(st.integers(2, 6)), draw(st.integers(1, 12))
    seed, width = draw(st.integers(0, 2**16)), draw(st.sampled_from([0.1, 1.0, 5.0]))
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, n_way)) * width, generator.integers(n_way, size=n)


@given(answers(), st.floats(0.05, 0.99))
def test_calibration_equals_numpys(
    given_answers: tuple[NDArray[np.float64], NDArray[np.int64]], coverage: float
) -> None:
    outputs, targets = given_answers
    found = Classification(outputs.shape[1]).calibration(
        torch.from_numpy(outputs), torch.from_numpy(targets), coverage
    )
    p = softmax(outputs)
    brier = [((row - np.eye(len(row))[t]) ** 2).sum() for row, t in zip(p, targets, strict=True)]
    assert found.brier == pytest.approx(np.mean(brier), abs=1e-6)
    sets = [smallest_set(row, coverage) for row in p]
    assert found.set_size == pytest.approx(np.mean([len(s) for s in sets]), abs=1e-6)
    assert found.coverage == pytest.approx(
        np.mean([t in s for s, t in zip(sets, targets, strict=True)]), abs=1e-6
    )
    bins = np.digitize(p.max(axis=1), np.arange(1, N_BINS) / N_BINS, right=True) + 1
    expected = [
        [m, mask.sum(), p.max(axis=1)[mask].sum(), (p.argmax(axis=1) == targets)[mask].sum()]
        for m in range(1, N_BINS + 1)
        if (mask := bins == m).any()
    ]
    assert found.confidence_bins is not None
    assert np.allclose(found.confidence_bins, expected, atol=1e-4)


def smallest_set(p: NDArray[np.float64], coverage: float) -> set[int]:
    """By trying all sets: of the smallest that hold `coverage`, the one that holds the most."""
    for size in range(1, len(p) + 1):
        held = {of: sum(p[list(of)]) for of in combinations(range(len(p)), size)}
        best = max(held, key=lambda of: held[of])
        if held[best] >= coverage - 1e-9:
            return set(best)
    return set(range(len(p)))


@given(answers())
def test_calibration_is_what_json_takes(
    given_answers: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    outputs, targets = (torch.from_numpy(part) for part in given_answers)
    found = Classification(outputs.shape[1]).calibration(outputs, targets, 0.9)
    assert json.loads(json.dumps(asdict(found))) == asdict(found)
    assert found.confidence_bins is not None
    assert sum(n for _, n, _, _ in found.confidence_bins) == len(targets)


def outputs_of(answers: list[int], n_outputs: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(answers), n_outputs).float()


def test_other_metrics_by_hand() -> None:
    # Class 0: 3 of 4 found, answered 4 times; class 1: 1 of 2, 2 times; class 2 never; class 3 answered once.
    answers, targets = [0, 0, 0, 1, 1, 0, 3], torch.tensor([0, 0, 0, 0, 1, 1, 1])
    found = Classification(5).other_metrics(outputs_of(answers, 5), targets)
    assert found.keys() == {"balanced_accuracy", "macro_f1"}
    # Recalls 3/4 and 1/3; class 3 is not among the targets.
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 3) / 2)
    # 2 * 3 / (4 + 4), 2 * 1 / (3 + 2) and 0 / 1: class 3 counts, as an answer; 2 and 4 do not.
    assert found["macro_f1"] == pytest.approx((6 / 8 + 2 / 5 + 0) / 3)


@given(answers())
def test_other_metrics_equal_numpys(given_answers: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    outputs, targets = given_answers
    found = Classification(outputs.shape[1]).other_metrics(
        torch.from_numpy(outputs), torch.from_numpy(targets)
    )
    said = outputs.argmax(axis=1)
    recalls = [np.mean(said[targets == c] == c) for c in np.unique(targets)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    f1s = []
    for c in np.union1d(said, targets):
        precision = np.mean(targets[said == c] == c) if (said == c).any() else 0.0
        recall = np.mean(said[targets == c] == c) if (targets == c).any() else 0.0
        f1s.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    assert found["macro_f1"] == pytest.approx(np.mean(f1s))


def test_balanced_accuracy_of_equal_classes_is_accuracy_and_of_others_is_not() -> None:
    answers, objective = [0, 0, 1, 0, 2, 2], Classification(3)
    for targets, same in (([0, 0, 1, 1, 2, 2], True), ([0, 0, 0, 0, 1, 2], False)):
        outputs, wanted = outputs_of(answers, 3), torch.tensor(targets)
        accuracy = float(objective.metrics(outputs, wanted)["accuracy"])
        balanced = objective.other_metrics(outputs, wanted)["balanced_accuracy"]
        assert (balanced == pytest.approx(accuracy)) is same


def test_intervals_of_normal_distributions_by_hand() -> None:
    """z of 90 % is 1.645: of errors of 1, 2 and 4 with deviations of 1, 1 and 3 the second lies outside."""
    outputs, targets = torch.zeros(3, 1), torch.tensor([[1.0], [-2.0], [4.0]])
    found = Regression(1, mean=7.0, deviation=2.0).intervals(
        outputs, torch.tensor([[1.0], [1.0], [3.0]]), targets, 0.9
    )
    assert found["interval_coverage"] == pytest.approx(2 / 3)
    assert found["interval_width"] == pytest.approx(2 * 1.6448536 * 2 * 5 / 3)
    # In the unit of the target: errors of 2, 4 and 8, deviations of 2, 2 and 6.
    squares = [
        (error / s) ** 2 / 2 + math.log(s * math.sqrt(2 * math.pi)) for error, s in ((2, 2), (4, 2), (8, 6))
    ]
    assert found["gaussian_nll"] == pytest.approx(sum(squares) / 3)
    assert Classification(3).intervals(outputs, outputs, targets, 0.9) == {}


@pytest.mark.parametrize("objective", [Classification(3), Regression(3)])
def test_objective_says_the_unit_of_each_metric(objective: Classification | Regression) -> None:
    is_classes = isinstance(objective, Classification)
    targets = torch.tensor([0, 1, 2]) if is_classes else torch.zeros(3, 3)
    outputs = torch.eye(3)
    reported = {*objective.metrics(outputs, targets), *objective.other_metrics(outputs, targets)}
    reported |= objective.intervals(outputs, torch.ones(3, 3), targets, 0.9).keys()
    assert reported == objective.units.keys()
    assert objective.unit == ("%" if is_classes else "")
    assert next(iter(objective.units)) == objective.headline
