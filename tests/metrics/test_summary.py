"""The summary of a table of records, by independent arithmetic."""

from __future__ import annotations

import math
from typing import Any

import pytest

from coldstart_cli.metrics.summary import summarise


def record(
    role: str, split: str, k: int, task: str, step: int, value: float, variant: str = ""
) -> dict[str, Any]:
    return {
        "role": role, "variant": variant, "split": split, "k_shot": k, "task": task, "task_hash": task,
        "step": step, "value": value, "loss": 0.0, "adapt_seconds": 0.002 * step,
    }  # fmt: skip


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


def similar(task: str, step: int, value: float, **similarities: float) -> dict[str, Any]:
    notes = {f"similarity of {group}": number for group, number in similarities.items()}
    return {**record("strategy", "new", 1, task, step, value), "notes": {"distance": 1.0, **notes}}


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


def over_shots_table(shots: tuple[int, ...], baseline: bool = True) -> list[dict[str, Any]]:
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


def test_summary_over_shots_by_hand() -> None:
    shots = (0, 1, 2, 4, 16)
    chosen = {"strategy": dict.fromkeys(shots, 1), "baseline": dict.fromkeys(shots[1:], 1)}
    found = summarise(over_shots_table(shots), chosen, higher_is_better=True, confidence=0.95)["over_shots"]
    assert found["k_shots"] == [1, 2, 4, 16]
    # Linear in log2(k) from 0 to .4: mean height .2, and .025 for the mean of the tasks.
    t, width = 12.7062047, 0.05 / math.sqrt(2) / math.sqrt(2)
    assert found["baseline"]["area"] == {
        "mean": pytest.approx(0.225), "half_width": pytest.approx(t * width, rel=1e-6), "n": 2
    }  # fmt: skip
    assert found["strategy"]["area"]["mean"] == pytest.approx(0.425)
    assert found["gain"] == {
        "mean": pytest.approx(0.2), "half_width": pytest.approx(0, abs=1e-9), "n": 2
    }  # fmt: skip
    # 95 % of the way is .38, nine tenths of the way from 4 (.2) to 16 (.4)
    assert found["strategy"]["shots_to_95"] == pytest.approx(4 + 0.9 * 12)


def test_summary_over_two_shots_has_an_area_alone_and_over_one_has_nothing() -> None:
    def over(*shots: int) -> Any:
        chosen = {"strategy": dict.fromkeys(shots, 1)}
        rows = over_shots_table(shots, baseline=False)
        return summarise(rows, chosen, higher_is_better=True, confidence=0.95)["over_shots"]

    two = over(1, 4)
    assert set(two) == {"k_shots", "strategy"}
    assert two["strategy"]["shots_to_95"] is None
    assert two["strategy"]["area"]["mean"] == pytest.approx(0.2 + 0.1 + 0.025)
    assert over(1) is None
    assert over(0, 1) is None


def test_summary_has_the_calibration_of_adapted_predictors() -> None:
    def believed(row: dict[str, Any]) -> dict[str, Any]:
        right = 1 + (row["step"] == 2)  # of two answers with .75 each
        return {
            **row, "brier": 0.1 * row["step"], "coverage": 1.0, "set_size": 2.0,
            "confidence_bins": [[12, 2, 1.5, right]],
        }  # fmt: skip

    rows = [believed(row) if row["split"] != "validation" else row for row in table()]
    chosen = {"strategy": {1: 2, 5: 2}, "baseline": {1: 1, 5: 2}}
    row = summarise(rows, chosen, higher_is_better=True, confidence=0.95)["shots"]["1"]
    measured = {"nll": 0.0, "coverage": 1.0, "set_size": 2.0}
    for part in ("new", "source_test"):
        assert row[part]["calibration"] == {
            **measured, "brier": pytest.approx(0.2), "ece": pytest.approx(0.25)
        }  # fmt: skip
    assert row["baseline"]["calibration"]["ece"] == pytest.approx(0.25)
    assert row["baseline"]["calibration"]["brier"] == pytest.approx(0.1)
    bare = summarise(table(), chosen, higher_is_better=True, confidence=0.95)["shots"]["1"]
    assert bare["new"]["calibration"] == {}
