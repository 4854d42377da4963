"""The lines below an evaluation's table."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace

import pytest

from coldstart_cli.metrics.budgets import Budget
from coldstart_cli.metrics.results import (
    BaselineRead,
    Interval,
    Outcome,
    OverShots,
    RoleOverShots,
    Shot,
    Similarity,
    Summary,
    TrainingFacts,
    Verdict,
)
from coldstart_cli.reports import evaluation_table
from coldstart_cli.reports.footnotes import LIMITED, footnotes, numbers_of
from tests.kit import summaries as kit
from tests.kit.summaries import evaluated


def shown(summary: Summary) -> str:
    return "".join(f"{line}\n" for line in footnotes(summary, numbers_of(summary)))


def with_similarity(check: Similarity | None) -> Summary:
    return kit.with_shots(evaluated(), notes={"similarity of GREEK": [None, 0.25]}, similarity=check)


def test_footnotes_say_where_the_worth_of_a_similarity_is_not_known() -> None:
    assert shown(with_similarity(None)).count("its use is not known") == 2
    check = Similarity(rho=1.0, p=math.nan, pairs=2, within_task_rho=math.nan, regret=0.0)
    text = shown(with_similarity(check))
    assert "(p = not known, 2 pairs" in text
    assert "within a task not known" in text


def test_footnotes_without_similarities_do_not_speak_of_them() -> None:
    assert "Similarity" not in shown(evaluated())


def test_footnotes_say_that_reals_have_no_calibration() -> None:
    sentence = "No calibration: a predictor of reals gives a mean and no variance"
    assert shown(evaluated(metric="mse")).count(sentence) == 1
    assert "calibration" not in shown(evaluated())


def test_footnotes_mark_budgets_with_what_was_measured() -> None:
    limited = evaluated(
        budgets={
            "p95_ms": Verdict(limit=5.0, measured=0.7, kept=True),
            "flops": Verdict(limit=3000, measured=3400, kept=False),
        }
    )
    text = shown(limited)
    assert "  p95 at batch 1 0.7 ms, limit 5 ms: kept\n" in text
    assert "  operations for one input 3,400 FLOP, limit 3,000 FLOP: BROKEN\n" in text
    assert evaluation_table.headline(limited).endswith(", over budget: flops")
    assert "Budget" not in shown(evaluated(budgets={}))
    assert "budget" not in evaluation_table.headline(evaluated())


def test_footnotes_name_every_limit_that_a_budget_can_hold() -> None:
    fields = {field.name for field in dataclasses.fields(Budget)} - {"enforce"}
    assert set(LIMITED) == fields


def test_footnotes_show_the_curve_over_shots_and_what_is_left_out() -> None:
    over = OverShots(
        [1, 2, 5],
        RoleOverShots(Interval(0.5, 0.01, 2), 4.567),
        RoleOverShots(Interval(0.4, 0.02, 2), None),
        Interval(0.1, 0.03, 2),
    )
    lines = shown(
        evaluated(over_shots=over, left_out={20: "too few"}, source_left_out={5: "none held out"})
    ).splitlines()
    assert (
        "Area under the curve over log2 of 1, 2, 5 shots: maml 50.0 ± 1.0 (95 % of the way at 4.57), "
        "maml 40.0 ± 2.0, gain +10.0 ± 3.0"
    ) in lines
    assert "Left out: k=20, too few" in lines
    assert "Left out: source tasks at k=5, none held out" in lines
    assert "Area under the curve" not in shown(evaluated(over_shots=None))
    assert "1, 2, 5 points: " in shown(evaluated(metric="mse", over_shots=over))


@pytest.mark.parametrize(
    ("steps", "examples", "end"),
    [
        (1000, 80000, "best state after 800; 80,000 labelled source examples seen"),
        (1000, None, "; source examples not counted"),
        (1000, 0, "; source examples not counted"),
        (0, 0, "best state after 800"),
    ],
)
def test_footnotes_say_how_many_source_examples_were_seen(steps: int, examples: int | None, end: str) -> None:
    training = TrainingFacts(steps, 800, 12.34, examples)
    line = next(line for line in shown(evaluated(training=training)).splitlines() if "Training: " in line)
    assert line.endswith(end)


@pytest.mark.parametrize(("device", "words"), [("cpu", "of the whole process"), ("cuda", "on the device")])
def test_footnotes_say_whose_peak_memory_it_is(device: str, words: str) -> None:
    hardware = replace(evaluated().hardware, device=device)
    assert f"{words} 100 MiB" in shown(evaluated(hardware=hardware))


def test_footnotes_never_show_a_similarity_without_its_worth() -> None:
    check = Similarity(rho=-0.321, p=0.0456, pairs=60, within_task_rho=0.5, regret=0.0312)
    text = shown(with_similarity(check))
    for k in (1, 5):
        assert (
            f"Similarity at k={k}: rank correlation with the real gain -0.32 (p = 0.046, 60 pairs of source "
            "group and new task), within a task +0.50; taking the most similar group loses 3.1 points "
            "against the best"
        ) in text


def test_footnotes_say_which_times_of_the_baseline_were_not_spent_here() -> None:
    read = evaluated(baseline_read=BaselineRead(sets=2, of=4, measured="2026-01-01"))
    assert "2 of 4 sets of maml's records and times were read from the cache" in shown(read)
    assert "read from the cache" not in shown(evaluated())


def test_footnotes_say_where_a_regression_loses_to_the_mean_of_its_labels() -> None:
    made = evaluated(metric="mse")
    text = shown(made)
    assert "mean of the task's own labels" not in text

    def beside(k: int, shot: Shot) -> dict[str, Outcome]:
        mean = shot.new.after.mean + (0.1 if k == 1 else -0.1)
        return {"constant": replace(shot.new, after=replace(shot.new.after, mean=mean))}

    text = shown(kit.with_shots(made, beside=beside))
    assert text.count("maml does worse than the mean of the task's own labels at k=5 (") == 1
    assert "at k=1 (" not in text
