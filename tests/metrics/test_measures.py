"""Gold values of the evaluations, by independent arithmetic."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from coldstart_cli.core.objectives import Classification
from coldstart_cli.metrics.measures import (
    area_under,
    areas_over_shots,
    by_task,
    calibration,
    choose,
    interval,
    label_efficiency,
    mean_by_step,
    paired_gain,
    percentiles,
    pooled_bins,
    shots_to,
    steps_to,
)
from coldstart_cli.metrics.records import Believed, Record, record_of
from coldstart_cli.metrics.results import Calibration, Interval
from tests.kit.summaries import believed, record

reals = st.floats(-100, 100, allow_subnormal=False).map(lambda x: round(x, 3))


@given(st.lists(reals, min_size=2, max_size=30), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_interval_equals_scipys_t_interval(values: list[float], confidence: float) -> None:
    assume(np.std(values) > 1e-6)
    ours = interval(numbered(values), confidence)
    low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert ours.mean == pytest.approx((low + high) / 2, abs=1e-9)
    assert ours.half_width == pytest.approx((high - low) / 2, rel=1e-9)
    assert ours.n == len(values)


def numbered(values: Sequence[float]) -> dict[str, float]:
    return {f"new/{i}": float(value) for i, value in enumerate(values)}


def test_interval_over_origins_is_that_of_their_means() -> None:
    values = numbered([1, 3, 5, 5, 8, 8])
    persons = dict(zip(values, ["anna", "anna", "ben", "ben", "cleo", "cleo"], strict=True))
    ours = interval(values, 0.95, persons)
    means = interval(numbered([2, 5, 8]), 0.95)
    assert (ours.mean, ours.n, ours.origins) == (5.0, 6, 3)
    assert ours.half_width == pytest.approx(means.half_width)


def test_interval_over_origins_of_unequal_size_by_hand() -> None:
    # Four tasks of mean 3: residuals -2, -1 of one origin, 0 and 3 of another each. Sums -3, 0, 3; the
    # variance of the mean is 3 / 2 x (9 + 0 + 9) / 16, and t_2(.975) = 4.302653.
    values = numbered([1, 2, 3, 6])
    of = dict(zip(values, "aabc", strict=True))
    assert interval(values, 0.95, of).half_width == pytest.approx(4.302653 * math.sqrt(27 / 16), rel=1e-6)


def test_interval_of_tasks_of_one_origin_is_over_its_tasks() -> None:
    values = numbered([1, 2, 3])
    ours = interval(values, 0.95, dict.fromkeys(values, "anna"))
    assert (ours.half_width, ours.origins) == (interval(values, 0.95).half_width, 1)


def test_intervals_over_origins_cover_and_those_over_tasks_do_not() -> None:
    random, held = np.random.default_rng(0), {"origins": 0, "tasks": 0}
    for _ in range(400):  # five persons of twelve tasks, who differ more than their tasks do
        persons = random.normal(0, 1, 5).repeat(12)
        values = numbered(persons + random.normal(0, 0.5, 60))
        of = dict(zip(values, np.arange(5).repeat(12).astype(str).tolist(), strict=True))
        for name, ours in (("origins", interval(values, 0.95, of)), ("tasks", interval(values, 0.95))):
            held[name] += abs(ours.mean) <= ours.half_width
    assert held["origins"] >= 0.93 * 400
    assert held["tasks"] <= 0.6 * 400


def test_interval_by_hand() -> None:
    # 1, 2, 3: sd 1, t_2(.975) = 4.302653; 4.302653 / sqrt(3) = 2.484138
    ours = interval(numbered([1, 2, 3]), 0.95)
    assert (ours.mean, ours.n) == (2.0, 3)
    assert ours.half_width == pytest.approx(2.484138, abs=1e-6)
    assert not ours.excludes_zero()
    assert interval(numbered([1, 2, 3]), 0.5).excludes_zero()


def test_interval_of_few_values_claims_nothing() -> None:
    assert interval({"a": 0.7}, 0.95) == Interval(0.7, math.inf, 1)
    none = interval({}, 0.95)
    assert math.isnan(none.mean)
    assert (none.half_width, none.n) == (math.inf, 0)
    assert not interval({"a": 0.7}, 0.95).excludes_zero()


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
    for diverged in (math.inf, math.nan):
        assert steps_to({0: 1.0, 1: 2.0, 2: diverged}, 0.95) is None
        assert steps_to({0: diverged, 1: 2.0, 2: 1.0}, 0.95) is None


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


def validation(means: dict[tuple[str, int], float]) -> list[Record]:
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


def test_percentiles_in_milliseconds() -> None:
    assert percentiles([0.001 * i for i in range(101)]) == {
        "p50_ms": pytest.approx(50.0),
        "p95_ms": pytest.approx(95.0),
    }


def test_areas_over_shots_by_hand() -> None:
    values = {1: {"a": 0.0, "b": 1.0}, 2: {"a": 0.5, "b": 1.0}, 8: {"a": 1.0, "b": 0.0}}
    # log2: 0, 1, 3. a: (.25 * 1 + .75 * 2) / 3; b: (1 * 1 + .5 * 2) / 3
    assert areas_over_shots(values) == {"a": pytest.approx(1.75 / 3), "b": pytest.approx(2 / 3)}


def test_areas_over_shots_leave_out_zero_shots_and_tasks_that_are_not_in_all() -> None:
    values = {0: {"a": 9.0}, 4: {"a": 0.5, "b": 0.1}, 1: {"a": 0.3, "c": 0.1}}
    assert areas_over_shots(values) == {"a": pytest.approx(0.4)}
    assert areas_over_shots({0: {"a": 9.0}}) == {}


@given(st.dictionaries(st.integers(1, 50), reals, min_size=1), st.integers(2, 5))
def test_areas_over_shots_do_not_change_when_all_shots_are_multiplied(
    curve: dict[int, float], factor: int
) -> None:
    areas = [areas_over_shots({k * f: {"a": v} for k, v in curve.items()})["a"] for f in (1, factor)]
    assert areas[0] == pytest.approx(areas[1], abs=1e-6)
    assert min(curve.values()) - 1e-9 <= areas[0] <= max(curve.values()) + 1e-9


def test_shots_to_by_hand() -> None:
    accuracy = {1: 0.2, 5: 0.8, 10: 1.0}  # 95 % of the way is .96, four fifths from 5 to 10
    assert shots_to(accuracy, 0.95, True) == pytest.approx(9.0)
    assert shots_to({0: 0.9, **accuracy}, 0.95, True) == pytest.approx(9.0)
    assert shots_to({1: 4.0, 3: 0.0}, 0.75, False) == pytest.approx(2.5)  # errors fall
    assert shots_to({1: 0.6, 5: 0.5, 10: 0.4}, 0.95, True) == 1.0  # more labels do not help
    assert shots_to({2: 0.5}, 0.95, True) == 2.0
    assert shots_to({1: math.nan, 5: 0.5}, 0.95, True) == math.inf


@given(st.dictionaries(st.integers(1, 50), reals, min_size=1), st.booleans())
def test_shots_to_lies_among_the_shots_measured(curve: dict[int, float], higher: bool) -> None:
    assert min(curve) - 1e-9 <= shots_to(curve, 0.95, higher) <= max(curve) + 1e-9


def answered(found: Believed | None, loss: float = 1.0) -> Record:
    return record("strategy", "new", 1, "a", 0, 0.5, loss=loss, believed=found)


def test_calibration_of_a_table_made_by_hand() -> None:
    one = believed([[7, 2, 0.9, 2], [15, 1, 1.0, 0]], brier=0.2, coverage=0.8, set_size=1.5)
    two = believed([[7, 3, 1.3, 0], [9, 4, 2.4, 3]], brier=0.4, coverage=1.0, set_size=2.5)
    rows = [answered(one, 1.0), answered(two, 2.0)]
    # Bin 7 has 5 answers of which 2 are right at 2.2; bin 9: 3 at 2.4; bin 15: 0 at 1.
    assert pooled_bins(rows) == {
        7: (5, pytest.approx(2.2), 2), 9: (4, pytest.approx(2.4), 3), 15: (1, 1.0, 0)
    }  # fmt: skip
    assert calibration(rows) == Calibration(
        nll=pytest.approx(1.5), brier=pytest.approx(0.3), coverage=pytest.approx(0.9),
        set_size=pytest.approx(2.0), ece=pytest.approx((0.2 + 0.6 + 1.0) / 10),
    )  # fmt: skip


def test_calibration_of_reals_and_of_older_records_is_nothing() -> None:
    assert calibration([]) is None
    assert calibration([answered(None)]) is None
    assert calibration([answered(believed([])), answered(None)]) is None


def test_calibration_is_not_known_where_an_answer_is_not_finite() -> None:
    diverged = believed(None, brier=math.nan, coverage=math.nan, set_size=math.nan)
    found = calibration([answered(believed([[3, 1, 0.2, 1]])), answered(diverged, math.inf)])
    assert found is not None
    assert found.nll == math.inf
    assert all(math.isnan(value) for value in (found.brier, found.coverage, found.set_size, found.ece))


@given(st.lists(st.integers(0, 2**16), min_size=1, max_size=6), st.floats(0.1, 8))
def test_calibration_pools_the_queries_of_all_tasks(seeds: list[int], sharpness: float) -> None:
    answers = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        outputs = sharpness * torch.randn(7, 4, generator=generator)
        answers.append((outputs, torch.randint(4, (7,), generator=generator)))
    objective = Classification(4)
    rows = []
    for answer in answers:
        of_task = objective.calibration(*answer, 0.9)
        found_of_task = Believed(of_task.brier, of_task.coverage, of_task.set_size, of_task.confidence_bins)
        rows.append(answered(found_of_task, float(objective.loss(*answer))))
    p = torch.cat([outputs for outputs, _ in answers]).double().softmax(-1).numpy()
    targets = np.concatenate([targets.numpy() for _, targets in answers])
    sure, right = p.max(axis=1), p.argmax(axis=1) == targets
    edges = np.arange(16) / 15
    ece = sum(
        np.mean(mask) * abs(right[mask].mean() - sure[mask].mean())
        for low, high in pairwise(edges)
        if (mask := (sure > low) & (sure <= high)).any()
    )
    found = calibration([record_of(json.loads(json.dumps(row.row()))) for row in rows])
    assert found is not None
    assert found.ece == pytest.approx(ece, abs=1e-4)
    assert found.nll == pytest.approx(-np.log(p[np.arange(len(p)), targets]).mean(), rel=1e-4)
    # Of few queries the error is larger: pooled it is never above the mean of the tasks' own.
    alone = [of_task.ece for row in rows if (of_task := calibration([row])) is not None]
    assert found.ece <= np.mean(alone) + 1e-9
