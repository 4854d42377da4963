"""What a similarity was worth, by independent arithmetic."""

from __future__ import annotations

import pytest
from scipy import stats

from coldstart_cli.metrics.strategy_notes import Noted, similarity_check


def similar(task: str, **similarities: float) -> Noted:
    notes = {f"similarity of {group}": number for group, number in similarities.items()}
    return task, {"distance": 1.0, **notes}


def test_similarity_check_by_hand() -> None:
    rows = [similar("a", X=0.1, Y=0.2, Z=0.3), similar("b", X=0.6, Y=0.5, Z=0.4)]
    beside = {("X", "a"): 0.3, ("Y", "a"): 0.5, ("Z", "a"): 0.4}
    beside |= {("X", "b"): 0.9, ("Y", "b"): 0.8, ("Z", "b"): 0.7}
    found = similarity_check(rows, beside, {"a": 0.2, "b": 0.2}, True)
    # Gains .1 .3 .2 .7 .6 .5: ranks 1 3 2 6 5 4; similarities .1 .2 .3 .6 .5 .4: ranks 1 2 3 6 5 4.
    # rho = 1 - 6 (1 + 1) / (6 * 35); within a: 1 - 6 (1 + 1) / (3 * 8) = .5, within b: 1.
    assert found is not None
    assert found.rho == pytest.approx(1 - 12 / 210)
    assert found.p == pytest.approx(stats.spearmanr([1, 2, 3, 6, 5, 4], [1, 3, 2, 6, 5, 4]).pvalue)
    assert found.pairs == 6
    assert found.within_task_rho == pytest.approx(0.75)
    assert found.regret == pytest.approx((0.1 + 0.0) / 2)  # a: Z is taken, Y is best
    # The other task's gains rank: for a as in b, X Y Z (ranks 3 2 1 against 1 3 2: -.5), X loses .2;
    # for b as in a, Y Z X (1 3 2 against 3 2 1: -.5), Y loses .1.
    assert found.constant_rho == pytest.approx(-0.5)
    assert found.constant_regret == pytest.approx((0.2 + 0.1) / 2)


def test_the_constant_ranking_is_as_good_as_a_similarity_that_knows_no_task() -> None:
    """Gains that differ by group alone: a similarity that says so always is no better than the constant."""
    rows = [similar(task, X=1.0, Y=2.0, Z=3.0) for task in "abc"]
    beside = {
        (g, t): v + i / 100 for i, t in enumerate("abc") for g, v in (("X", 0.1), ("Y", 0.3), ("Z", 0.2))
    }
    found = similarity_check(rows, beside, dict.fromkeys("abc", 0.0), True)
    assert found is not None
    assert (found.within_task_rho, found.regret) == (pytest.approx(0.5), pytest.approx(0.1))
    assert (found.constant_rho, found.constant_regret) == (pytest.approx(1.0), pytest.approx(0.0))
    alone = similarity_check(rows[:1], beside, {"a": 0.0}, True)
    assert alone is not None
    assert alone.constant_rho is None  # nothing is known of other tasks


def test_similarity_check_turns_the_sign_of_errors() -> None:
    rows = [similar("a", X=1.0, Y=2.0, Z=3.0)]
    beside = {("X", "a"): 0.9, ("Y", "a"): 0.5, ("Z", "a"): 0.1}
    errors, accuracies = (similarity_check(rows, beside, {"a": 0.2}, higher) for higher in (False, True))
    assert errors is not None
    assert accuracies is not None
    assert (errors.rho, accuracies.rho) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert errors.regret == pytest.approx(0.0)
    assert accuracies.regret == pytest.approx(0.8)


def test_similarity_check_of_nothing_to_compare_is_none() -> None:
    rows = [similar("a", X=1.0, Y=2.0)]
    assert similarity_check(rows, {("X", "a"): 0.5, ("Y", "a"): 0.6}, {}, True) is None  # no baseline
    assert similarity_check(rows, {("X", "a"): 0.5}, {"a": 0.2}, True) is None  # one pair
    assert similarity_check(rows, {("X", "a"): 0.5, ("Y", "a"): 0.5}, {"a": 0.2}, True) is None
    assert similarity_check([], {}, {"a": 0.2}, True) is None
