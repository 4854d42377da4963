"""The summary of a table of records, by independent arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from coldstart_cli.metrics.records import Record
from coldstart_cli.metrics.results import Calibration, Interval, OverShots, Shot
from coldstart_cli.metrics.summary import summarise
from tests.kit.summaries import believed, record


def outcomes(shot: Shot) -> dict[str, Interval]:
    """After adaptation, of the roles that are there."""
    parts = {"new": shot.new, "source_test": shot.source_test, "baseline": shot.baseline}
    return {name: part.after for name, part in parts.items() if part is not None}


def table() -> list[Record]:
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
    one, five = summary.shots[1], summary.shots[5]
    t, width = 12.7062047, 0.1 / math.sqrt(2) / math.sqrt(2)
    assert one.new.before.mean == pytest.approx(0.25)
    assert one.new.after.mean == pytest.approx(0.65)
    assert one.new.after.half_width == pytest.approx(t * width, rel=1e-6)
    assert one.new.after.n == 2
    assert outcomes(one)["source_test"].mean == pytest.approx(0.75)
    assert one.gap is not None
    assert one.gap.mean == pytest.approx(0.1)
    assert one.gap.half_width == pytest.approx(math.sqrt(2) * t * width, rel=1e-6)
    assert one.new.area == pytest.approx((0.4 + 0.6) / 2)
    assert one.new.steps_to_95 == 2
    assert list(one.new.curve) == [0, 1, 2]
    # baseline at its step 1: .4 for both tasks; ours at step 2: .6 and .7
    assert one.gain is not None
    assert one.gain.mean == pytest.approx((0.2 + 0.3) / 2)
    assert one.baseline is not None
    assert one.baseline.step == 1
    assert one.baseline.after.mean == pytest.approx(0.4)
    # the baseline has .4 at k = 1 and .7 at k = 5; ours .65 and .85
    assert one.baseline_shots == pytest.approx(1 + 4 * 0.25 / 0.3)
    assert five.baseline_shots == math.inf


def test_summary_without_baseline_or_source_test_leaves_them_out() -> None:
    rows = [r for r in table() if r.role == "strategy" and r.split != "source_test"]
    summary = summarise(rows, {"strategy": {1: 0, 5: 1}}, higher_is_better=True, confidence=0.95)
    shot = summary.shots[1]
    assert shot.source_test is shot.baseline is shot.gap is shot.gain is shot.baseline_shots is None
    assert shot.new.before == shot.new.after


def similar(task: str, step: int, value: float, **similarities: float) -> Record:
    notes = {f"similarity of {group}": number for group, number in similarities.items()}
    return record("strategy", "new", 1, task, step, value, notes={"distance": 1.0, **notes})


def similarity_table() -> list[Record]:
    """Two tasks, two groups, steps 0 and 1; no similarity is noted at step 0."""
    rows: list[Record] = []
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
    shot = summarise(similarity_table(), chosen, higher_is_better=True, confidence=0.95).shots[1]
    assert shot.similarity is not None
    assert shot.similarity.rho == pytest.approx(1.0)
    assert shot.similarity.pairs == 4
    assert shot.similarity.regret == pytest.approx(0.0)
    assert shot.notes["similarity of X"] == [pytest.approx(0.55), pytest.approx(0.55) if step else None]
    assert shot.beside["X"].after.mean == pytest.approx(0.55 if step else 0.2)


def over_shots_table(shots: tuple[int, ...], baseline: bool = True) -> list[Record]:
    """The value is .1 log2(k) + .05 for task b, + .2 for the strategy; step 1 alone is the one chosen."""
    return [
        record(
            role, "new", k, task, step, (0.1 * math.log2(k) if k else 0.0) + extra + lead + 0.3 * (step - 1)
        )
        for k in shots
        for role, lead in (("strategy", 0.2), *((("baseline", 0.0),) if baseline and k else ()))
        for task, extra in (("a", 0.0), ("b", 0.05))
        for step in (0, 1)
    ]


def test_summary_has_what_ablations_lose_paired_over_tasks() -> None:
    swapped = [
        record("ablation: swap", "new", 1, task, step, value)
        for task, value in (("a", 0.2), ("b", 0.5))
        for step in (0, 1, 2)
    ]
    chosen = {"strategy": {1: 2, 5: 2}, "baseline": {1: 1, 5: 2}}
    summary = summarise([*table(), *swapped], chosen, higher_is_better=True, confidence=0.95)
    one, five = summary.shots[1], summary.shots[5]
    assert one.ablations is not None and list(one.ablations) == ["swap"]
    # .6 and .7 with all its parts
    assert one.ablations["swap"].mean == pytest.approx(((0.2 - 0.6) + (0.5 - 0.7)) / 2)
    assert one.ablations["swap"].half_width == pytest.approx(12.7062047 * 0.1, rel=1e-6)
    assert one.beside == {} and five.ablations is None


def test_summary_over_shots_by_hand() -> None:
    shots = (0, 1, 2, 4, 16)
    chosen = {"strategy": dict.fromkeys(shots, 1), "baseline": dict.fromkeys(shots[1:], 1)}
    found = summarise(over_shots_table(shots), chosen, higher_is_better=True, confidence=0.95).over_shots
    assert found is not None and found.baseline is not None
    assert found.k_shots == [1, 2, 4, 16]
    # Linear in log2(k) from 0 to .4: mean height .2, and .025 for the mean of the tasks.
    t, width = 12.7062047, 0.05 / math.sqrt(2) / math.sqrt(2)
    area = found.baseline.area
    assert (area.mean, area.n) == (pytest.approx(0.225), 2)
    assert area.half_width == pytest.approx(t * width, rel=1e-6)
    assert found.strategy.area.mean == pytest.approx(0.425)
    assert found.gain == Interval(pytest.approx(0.2), pytest.approx(0, abs=1e-9), 2)
    # 95 % of the way is .38, nine tenths of the way from 4 (.2) to 16 (.4)
    assert found.strategy.shots_to_95 == pytest.approx(4 + 0.9 * 12)


def test_summary_over_two_shots_has_an_area_alone_and_over_one_has_nothing() -> None:
    def over(*shots: int) -> OverShots | None:
        chosen = {"strategy": dict.fromkeys(shots, 1)}
        rows = over_shots_table(shots, baseline=False)
        return summarise(rows, chosen, higher_is_better=True, confidence=0.95).over_shots

    two = over(1, 4)
    assert two is not None
    assert two.baseline is two.gain is None
    assert two.strategy.shots_to_95 is None
    assert two.strategy.area.mean == pytest.approx(0.2 + 0.1 + 0.025)
    assert over(1) is None
    assert over(0, 1) is None


def test_summary_has_the_calibration_of_adapted_predictors() -> None:
    def judged(row: Record) -> Record:
        right = 1 + (row.step == 2)  # of two answers with .75 each
        found = believed([[12, 2, 1.5, right]], brier=0.1 * row.step, coverage=1.0, set_size=2.0)
        return row if row.split == "validation" else replace(row, believed=found)

    rows = [judged(row) for row in table()]
    chosen = {"strategy": {1: 2, 5: 2}, "baseline": {1: 1, 5: 2}}
    shot = summarise(rows, chosen, higher_is_better=True, confidence=0.95).shots[1]
    expected = Calibration(0.0, pytest.approx(0.2), 1.0, 2.0, pytest.approx(0.25))
    assert shot.source_test is not None and shot.baseline is not None
    assert shot.new.calibration == shot.source_test.calibration == expected
    assert shot.baseline.calibration is not None
    assert shot.baseline.calibration.ece == pytest.approx(0.25)
    assert shot.baseline.calibration.brier == pytest.approx(0.1)
    bare = summarise(table(), chosen, higher_is_better=True, confidence=0.95).shots[1]
    assert bare.new.calibration is None


def test_summary_has_intervals_of_other_metrics_before_and_after_adaptation() -> None:
    rows = [
        replace(row, metrics={"macro_f1": row.value / 2, "odd": 1.0 - (row.task == "a") * row.step})
        for row in table()
    ]
    chosen = {"strategy": {1: 2, 5: 2}, "baseline": {1: 1, 5: 2}}
    shot = summarise(rows, chosen, higher_is_better=True, confidence=0.95).shots[1]
    for outcome in (shot.new, shot.source_test, shot.baseline):
        assert outcome is not None
        for all_of, headline in ((outcome.metrics_before, outcome.before), (outcome.metrics, outcome.after)):
            half = Interval(headline.mean / 2, headline.half_width / 2, headline.n)
            assert all_of["macro_f1"].mean == pytest.approx(half.mean)
            assert all_of["macro_f1"].half_width == pytest.approx(half.half_width, abs=1e-12)
            assert all_of["macro_f1"].n == 2
    # task a has 1 - step, task b 1
    assert shot.new.metrics_before["odd"].mean == 1.0
    assert shot.new.metrics["odd"].mean == pytest.approx(0.0)
    assert shot.new.metrics["odd"].half_width == pytest.approx(12.7062047 * 1.0, rel=1e-6)
    assert summarise(table(), chosen, higher_is_better=True, confidence=0.95).shots[1].new.metrics == {}


def test_summary_has_the_constant_answer_whichever_step_was_chosen() -> None:
    rows = [*table(), *(record("constant", "new", 1, task, 0, 0.5) for task in ("a", "b"))]
    found = summarise(rows, {"strategy": {1: 2, 5: 2}}, higher_is_better=True, confidence=0.95)
    beside = found.shots[1].beside["constant"]
    assert (beside.step, beside.after.mean, beside.after.n) == (0, 0.5, 2)
