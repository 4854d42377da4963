"""Gold values of the evaluations, by independent arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from coldstart_cli.metrics import (
    Interval,
    area_under,
    by_task,
    choose,
    interval,
    label_efficiency,
    mean_by_step,
    paired_gain,
    percentiles,
    similarity_check,
    steps_to,
    summarise,
)

reals = st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3))


@given(st.lists(reals, min_size=2, max_size=30), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_interval_equals_scipys_t_interval(values: list[float], confidence: float) -> None:
    assume(np.std(values) > 1e-6)
    ours = interval(values, confidence)
    low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert ours.mean == pytest.approx((low + high) / 2, abs=1e-9)
    assert ours.half_width == pytest.approx((high - low) / 2, rel=1e-9)
    assert ours.n == len(values)


def test_interval_by_hand() -> None:
    # 1, 2, 3: sd 1, t_2(.975) = 4.302653; 4.302653 / sqrt(3) = 2.484138
    ours = interval([1, 2, 3], 0.95)
    assert (ours.mean, ours.n) == (2.0, 3)
    assert ours.half_width == pytest.approx(2.484138, abs=1e-6)
    assert not ours.excludes_zero()
    assert interval([1, 2, 3], 0.5).excludes_zero()


def test_interval_of_few_values_claims_nothing() -> None:
    assert interval([0.7], 0.95) == Interval(0.7, math.inf, 1)
    none = interval([], 0.95)
    assert math.isnan(none.mean)
    assert (none.half_width, none.n) == (math.inf, 0)
    assert not interval([0.7], 0.95).excludes_zero()


def test_paired_gain_is_positive_where_we_are_better() -> None:
    ours, theirs = {"a": 1.0, "b": 2.0, "c": 9.0}, {"b": 5.0, "a": 3.0, "d": 0.0}
    mse = paired_gain(ours, theirs, False, 0.95)
    assert (mse.mean, mse.n) == (2.5, 2)  # 3 - 1 and 5 - 2: lower errors are better
    assert mse.half_width == pytest.approx(12.7062047 * math.sqrt(0.5) / math.sqrt(2), rel=1e-6)
    accuracy = paired_gain(ours, theirs, True, 0.95)
    assert (accuracy.mean, accuracy.half_width) == (-2.5, mse.half_width)


@given(st.dictionaries(st.text(max_size=3), reals, min_size=2), st.booleans())
def test_paired_gain_over_oneself_is_zero(values: dict[str, float], higher: bool) -> None:
    assert paired_gain(values, values, higher, 0.95) == Interval(0.0, 0.0, len(values))


def test_area_under_by_hand() -> None:
    assert area_under({0: 0.0, 1: 1.0, 3: 2.0}) == pytest.approx((0.5 * 1 + 1.5 * 2) / 3)
    assert area_under({3: 2.0, 0: 0.0, 1: 1.0}) == area_under({0: 0.0, 1: 1.0, 3: 2.0})
    assert area_under({5: 0.25}) == 0.25


@given(st.dictionaries(st.integers(0, 50), reals, min_size=1))
def test_area_under_lies_between_lowest_and_highest(curve: dict[int, float]) -> None:
    assert min(curve.values()) - 1e-9 <= area_under(curve) <= max(curve.values()) + 1e-9


def test_steps_to_share_of_the_way() -> None:
    assert steps_to({0: 0.2, 1: 0.9, 2: 0.96, 5: 1.0}, 0.95) == 2  # .76 of .8 is .95 of the way
    assert steps_to({0: 4.0, 1: 1.0, 2: 0.1, 5: 0.0}, 0.95) == 2  # errors fall
    assert steps_to({0: 0.5, 3: 0.9, 7: 0.5}, 0.95) == 0  # ends where it began
    assert steps_to({4: 1.0}, 0.95) == 4
    assert steps_to({0: 0.0, 1: 2.0, 2: 1.0}, 0.95) == 1  # overshoots


@given(st.dictionaries(st.integers(0, 50), reals, min_size=1))
def test_steps_to_is_a_step_of_the_curve(curve: dict[int, float]) -> None:
    assert steps_to(curve, 0.95) in curve


def test_label_efficiency_interpolates() -> None:
    accuracy = {1: 0.4, 5: 0.8, 10: 0.9}
    assert label_efficiency(0.6, accuracy, True) == pytest.approx(3.0)
    assert label_efficiency(0.85, accuracy, True) == pytest.approx(7.5)
    assert label_efficiency(0.9, accuracy, True) == pytest.approx(10)
    assert label_efficiency(0.3, accuracy, True) == 1.0  # there at once
    assert label_efficiency(0.91, accuracy, True) == math.inf
    mse = {5: 4.0, 10: 2.0}
    assert label_efficiency(3.0, mse, False) == pytest.approx(7.5)
    assert label_efficiency(1.0, mse, False) == math.inf
    assert label_efficiency(5.0, mse, False) == 5.0


@given(st.dictionaries(st.integers(1, 50), reals, min_size=1), reals, st.booleans())
def test_label_efficiency_lies_among_the_shots_measured(
    curve: dict[int, float], target: float, higher: bool
) -> None:
    shots = label_efficiency(target, curve, higher)
    reached = any(v >= target if higher else v <= target for v in curve.values())
    assert math.isfinite(shots) == reached
    assert not reached or min(curve) - 1e-9 <= shots <= max(curve) + 1e-9


def record(
    role: str, split: str, k: int, task: str, step: int, value: float, variant: str = ""
) -> dict[str, Any]:
    return {
        "role": role, "variant": variant, "split": split, "k_shot": k, "task": task, "task_hash": task,
        "step": step, "value": value, "loss": 0.0, "adapt_seconds": 0.002 * step,
    }  # fmt: skip


def validation(means: dict[tuple[str, int], float]) -> list[dict[str, Any]]:
    """Two tasks a choice, whose mean is the one given, and new tasks that must not count."""
    return [
        row
        for (variant, step), mean in means.items()
        for row in (
            record("baseline", "validation", 1, "a", step, mean - 0.1, variant),
            record("baseline", "validation", 1, "b", step, mean + 0.1, variant),
            record("baseline", "new", 1, "a", step, 1 - mean, variant),
        )
    ]


def test_choose_takes_the_best_on_validation_tasks() -> None:
    rows = validation({("lr=1", 0): 0.2, ("lr=1", 5): 0.5, ("lr=2", 0): 0.2, ("lr=2", 5): 0.75})
    assert choose(rows, True) == ("lr=2", 5)
    assert choose(rows, False) == ("lr=1", 0)


def test_choose_takes_the_earliest_of_equals() -> None:
    rows = validation({("lr=1", 0): 0.25, ("lr=1", 5): 0.5, ("lr=2", 0): 0.5, ("lr=2", 5): 0.5})
    assert choose(rows, True) == ("lr=1", 5)
    assert choose(list(reversed(rows)), False)[1] == 0


def test_means_and_tasks_by_step() -> None:
    rows = [record("s", "new", 1, t, s, v) for t, s, v in (("a", 1, 1.0), ("b", 1, 3.0), ("a", 0, 5.0))]
    assert mean_by_step(rows) == {0: 5.0, 1: 2.0}
    assert by_task(rows, 1) == {"a": 1.0, "b": 3.0}


def table() -> list[dict[str, Any]]:
    rows = []
    for k, lift in ((1, 0.0), (5, 0.2)):
        for i, task in enumerate("ab"):
            for step, height in ((0, 0.2), (1, 0.5), (2, 0.6)):
                rows += [
                    record("strategy", "new", k, task, step, height + lift + 0.1 * i),
                    record("strategy", "source_test", k, task, step, height + lift + 0.1 * i + 0.1),
                    record("baseline", "new", k, task, step, height + lift - 0.1),
                    record("strategy", "validation", k, task, step, 9.0),
                ]
    return rows


def test_summary_of_a_table_made_by_hand() -> None:
    chosen = {"strategy": {1: 2, 5: 2}, "baseline": {1: 1, 5: 2}}
    summary = summarise(table(), chosen, higher_is_better=True, confidence=0.95)
    one, five = summary["shots"]["1"], summary["shots"]["5"]
    t, width = 12.7062047, 0.1 / math.sqrt(2) / math.sqrt(2)
    assert one["new"]["before"]["mean"] == pytest.approx(0.25)
    assert one["new"]["after"] == {
        "mean": pytest.approx(0.65),
        "half_width": pytest.approx(t * width, rel=1e-6),
        "n": 2,
    }
    assert one["source_test"]["after"]["mean"] == pytest.approx(0.75)
    assert one["gap"]["mean"] == pytest.approx(0.1)
    assert one["gap"]["half_width"] == pytest.approx(math.sqrt(2) * t * width, rel=1e-6)
    assert one["new"]["area"] == pytest.approx((0.4 + 0.6) / 2)
    assert one["new"]["steps_to_95"] == 2
    assert list(one["new"]["curve"]) == ["0", "1", "2"]
    # baseline at its step 1: .4 for both tasks; ours at step 2: .6 and .7
    assert one["gain"]["mean"] == pytest.approx((0.2 + 0.3) / 2)
    assert one["baseline"]["step"] == 1
    assert one["baseline"]["after"]["mean"] == pytest.approx(0.4)
    # the baseline has .4 at k = 1 and .7 at k = 5; ours .65 and .85
    assert one["baseline_shots"] == pytest.approx(1 + 4 * 0.25 / 0.3)
    assert five["baseline_shots"] is None


def test_summary_without_baseline_or_source_test_leaves_them_out() -> None:
    rows = [r for r in table() if r["role"] == "strategy" and r["split"] != "source_test"]
    summary = summarise(rows, {"strategy": {1: 0, 5: 1}}, higher_is_better=True, confidence=0.95)
    row = summary["shots"]["1"]
    assert row["source_test"] is None
    assert not {"gap", "gain", "baseline", "baseline_shots"} & set(row)
    assert row["new"]["before"] == row["new"]["after"]


def test_percentiles_in_milliseconds() -> None:
    assert percentiles([0.001 * i for i in range(101)]) == {
        "p50_ms": pytest.approx(50.0),
        "p95_ms": pytest.approx(95.0),
    }


def similar(task: str, step: int, value: float, **similarities: float) -> dict[str, Any]:
    notes = {f"similarity of {group}": number for group, number in similarities.items()}
    return {**record("strategy", "new", 1, task, step, value), "notes": {"distance": 1.0, **notes}}


def test_similarity_check_by_hand() -> None:
    rows = [similar("a", 1, 0.5, X=0.1, Y=0.2, Z=0.3), similar("b", 1, 0.5, X=0.6, Y=0.5, Z=0.4)]
    beside = {("X", "a"): 0.3, ("Y", "a"): 0.5, ("Z", "a"): 0.4}
    beside |= {("X", "b"): 0.9, ("Y", "b"): 0.8, ("Z", "b"): 0.7}
    found = similarity_check(rows, beside, {"a": 0.2, "b": 0.2}, True)
    # Gains .1 .3 .2 .7 .6 .5: ranks 1 3 2 6 5 4; similarities .1 .2 .3 .6 .5 .4: ranks 1 2 3 6 5 4.
    # rho = 1 - 6 (1 + 1) / (6 * 35); within a: 1 - 6 (1 + 1) / (3 * 8) = .5, within b: 1.
    assert found is not None
    assert found["rho"] == pytest.approx(1 - 12 / 210)
    assert found["p"] == pytest.approx(stats.spearmanr([1, 2, 3, 6, 5, 4], [1, 3, 2, 6, 5, 4]).pvalue)
    assert found["pairs"] == 6
    assert found["within_task_rho"] == pytest.approx(0.75)
    assert found["regret"] == pytest.approx((0.1 + 0.0) / 2)  # a: Z is taken, Y is best


def test_similarity_check_turns_the_sign_of_errors() -> None:
    rows = [similar("a", 1, 0.5, X=1.0, Y=2.0, Z=3.0)]
    beside = {("X", "a"): 0.9, ("Y", "a"): 0.5, ("Z", "a"): 0.1}
    errors, accuracies = (similarity_check(rows, beside, {"a": 0.2}, higher) for higher in (False, True))
    assert errors is not None
    assert accuracies is not None
    assert (errors["rho"], accuracies["rho"]) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert errors["regret"] == pytest.approx(0.0)
    assert accuracies["regret"] == pytest.approx(0.8)


def test_similarity_check_of_nothing_to_compare_is_none() -> None:
    rows = [similar("a", 1, 0.5, X=1.0, Y=2.0)]
    assert similarity_check(rows, {("X", "a"): 0.5, ("Y", "a"): 0.6}, {}, True) is None  # no baseline
    assert similarity_check(rows, {("X", "a"): 0.5}, {"a": 0.2}, True) is None  # one pair
    assert similarity_check(rows, {("X", "a"): 0.5, ("Y", "a"): 0.5}, {"a": 0.2}, True) is None
    assert similarity_check([], {}, {"a": 0.2}, True) is None


def similarity_table() -> list[dict[str, Any]]:
    """Two tasks, two groups, steps 0 and 1; no similarity is noted at step 0."""
    rows: list[dict[str, Any]] = []
    for task, x, y in (("a", 0.4, 0.6), ("b", 0.7, 0.5)):
        for step in (0, 1):
            own = similar(task, step, 0.5, X=x, Y=y) if step else record("strategy", "new", 1, task, 0, 0.2)
            rows += [
                own,
                record("X", "new", 1, task, step, x if step else 0.2),
                record("Y", "new", 1, task, step, y if step else 0.2),
                record("baseline", "new", 1, task, step, 0.3),
            ]
    return rows


@pytest.mark.parametrize("step", [0, 1])
def test_summary_says_what_a_similarity_was_worth_whichever_step_was_chosen(step: int) -> None:
    chosen = {"strategy": {1: step}, "baseline": {1: 1}}
    row = summarise(similarity_table(), chosen, higher_is_better=True, confidence=0.95)["shots"]["1"]
    assert row["similarity"]["rho"] == pytest.approx(1.0)
    assert row["similarity"]["pairs"] == 4
    assert row["similarity"]["regret"] == pytest.approx(0.0)
    assert row["notes"]["similarity of X"] == [pytest.approx(0.55), pytest.approx(0.55) if step else None]
    assert row["beside"]["X"]["after"]["mean"] == pytest.approx(0.55 if step else 0.2)
