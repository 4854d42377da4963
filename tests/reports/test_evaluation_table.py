"""The table a person reads: all four evaluations, names as they are, narrow terminals too."""

from __future__ import annotations

import dataclasses
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from coldstart_cli.metrics.budgets import Budget
from coldstart_cli.metrics.results import (
    Calibration,
    Interval,
    Names,
    OverShots,
    RoleOverShots,
    Similarity,
    Summary,
    TrainingFacts,
    Verdict,
)
from coldstart_cli.reports import evaluation_table
from coldstart_cli.reports.footnotes import LIMITED
from coldstart_cli.runs.run import Run
from tests.kit import summaries as kit
from tests.kit.summaries import record

HEADINGS = ("Cross-task", "Learning curve", "Transfer performance", "Inference time")


def summary(
    *, baseline: bool = True, metric: str = "accuracy", name: str = "maml", **changes: Any
) -> Summary:
    rows = [
        record(role, split, k, task, step, 0.2 + 0.1 * step + 0.02 * k + lift)
        for role, split in (("strategy", "new"), ("strategy", "source_test"), ("baseline", "new"))
        for k in (1, 5)
        for task, lift in (("a", 0.0), ("b", 0.05))
        for step in (0, 1, 3)
    ]
    chosen = {"strategy": {1: 1, 5: 3}} | ({"baseline": {1: 3, 5: 3}} if baseline else {})
    names = Names(name, name, name, name if baseline else None)
    return kit.summary(rows, chosen, names=names, metric=metric, **changes)


def shown(summary: Summary, width: int = 120) -> str:
    stream = io.StringIO()
    evaluation_table.show(summary, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def test_report_prints_the_four_evaluations() -> None:
    text = shown(summary())
    for heading in HEADINGS:
        assert text.count(heading) == 1
    assert "maml (maml) on maml: 5-way, 2 new tasks, 95 % intervals" in text
    assert "1-shot" in text
    assert "5-shot" in text
    assert "after 1 step " in text
    assert "after 3 steps" in text
    assert "1,234,567 parameters, 3.4 kFLOP" in text
    assert "One training seed (3)" in text
    assert "1,000 steps in 12.3 s, best state after 800" in text
    assert "lr=0.05, 3 steps" in text


def test_report_shows_accuracy_in_percent_and_errors_as_they_are() -> None:
    # new tasks at k = 1 and step 1: .32 and .37, mean .345
    row = next(line for line in shown(summary()).splitlines() if "new tasks, adapted" in line)
    assert "34.5 ± " in row
    text = shown(summary(metric="mse"))
    row = next(line for line in text.splitlines() if "new tasks, adapted" in line)
    assert "0.345 ± " in row
    assert "-way" not in text
    assert "5 points" in text


@pytest.mark.parametrize("name", ["[red]me[/red]", "[/nope]", "[bold", "a]b[", ":smile: \\[x]"])
def test_report_prints_names_as_they_are(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    evaluation_table.show(summary(name=name))
    text = capsys.readouterr().out
    assert f"{name} ({name}) on {name}: " in text
    assert f"{name}, the same tasks" in text
    assert f"(cpu: {name}, 2 threads)" in text


@pytest.mark.parametrize("width", [40, 10, 300])
@pytest.mark.parametrize("baseline", [True, False])
def test_report_fits_any_width(width: int, baseline: bool) -> None:
    text = " ".join(shown(summary(baseline=baseline), width).split())
    assert "One training seed" in text
    assert baseline or "Transfer" not in text


def test_report_without_baseline_has_no_transfer() -> None:
    text = shown(summary(baseline=False))
    assert "Transfer performance" not in text
    assert "gain" not in text


def test_report_without_source_test_shows_a_dash() -> None:
    bare = kit.with_shots(summary(), source_test=None, gap=None)
    lines = shown(bare).splitlines()
    for label in ("source tasks", "gap from source"):
        assert next(line for line in lines if label in line).split()[-2:] == ["-", "-"]


def test_report_names_transduction_and_a_state_never_chosen() -> None:
    text = shown(summary(transductive=True, training=TrainingFacts(0, 0, 0.0, 0)))
    assert "Transductive: a prediction may depend on its batch." in text
    assert "best state" not in text


def test_report_says_where_a_baseline_never_gets() -> None:
    full = kit.with_shots(summary(), baseline_shots=math.inf)
    line = next(line for line in shown(full).splitlines() if "needs for the same" in line)
    assert line.split()[-2:] == [">", "5"]


def test_report_survives_one_task_and_numbers_that_are_not_finite() -> None:
    for mean in (math.nan, math.inf):
        odd = kit.with_outcome(summary(), 1, "new", after=Interval(mean, math.inf, 1))
        odd = kit.with_outcome(odd, 5, "new", after=Interval(0.5, math.inf, 1))
        text = shown(odd)
        assert "diverged" in text and "50.0 ± ?" in text and "nan" not in text and "inf" not in text


def test_headline_is_one_line_of_the_first_k() -> None:
    line = evaluation_table.headline(summary())
    assert line.startswith("k=1 accuracy 34.5 ± ")
    assert ", gain over baseline -20.0 ± " in line
    assert "gain" not in evaluation_table.headline(summary(baseline=False))


def with_similarity(check: Similarity | None) -> Summary:
    return kit.with_shots(summary(), notes={"similarity of GREEK": [None, 0.25]}, similarity=check)


def test_report_never_shows_a_similarity_without_its_worth() -> None:
    check = Similarity(rho=-0.321, p=0.0456, pairs=60, within_task_rho=0.5, regret=0.0312)
    text = shown(with_similarity(check))
    assert "similarity of GREEK" in text
    for k in (1, 5):
        assert (
            f"Similarity at k={k}: rank correlation with the real gain -0.32 (p = 0.046, 60 pairs of source "
            "group and new task), within a task +0.50; taking the most similar group loses 3.1 points "
            "against the best"
        ) in text


def test_report_says_where_the_worth_of_a_similarity_is_not_known() -> None:
    assert shown(with_similarity(None)).count("its use is not known") == 2
    check = Similarity(rho=1.0, p=math.nan, pairs=2, within_task_rho=math.nan, regret=0.0)
    text = shown(with_similarity(check))
    assert "(p = not known, 2 pairs" in text
    assert "within a task not known" in text


def test_report_without_similarities_does_not_speak_of_them() -> None:
    assert "Similarity" not in shown(summary())


def test_values_are_the_numbers_of_the_summary_by_name() -> None:
    full = summary(training=TrainingFacts(1000, 800, 12.5, None))
    found = evaluation_table.values(full)
    # strategy and baseline alike: .2 + .1 step + .02 k for task a and .05 more for b; steps 1 and 3, 3 and 3
    assert found["1-shot/accuracy"] == pytest.approx(0.345)
    assert found["5-shot/accuracy"] == pytest.approx(0.625)
    assert found["1-shot/accuracy_before_adaptation"] == pytest.approx(0.245)
    assert found["1-shot/source_accuracy"] == pytest.approx(0.345)
    assert found["1-shot/baseline_accuracy"] == pytest.approx(0.545)
    assert found["1-shot/gain"] == pytest.approx(-0.2)
    assert found["1-shot/gain_half_width"] == pytest.approx(0.0, abs=1e-12)
    assert found["1-shot/accuracy_half_width"] == pytest.approx(12.7062 * 0.05 / 2, rel=1e-4)
    assert (found["5-shot/adaptation_steps"], found["5-shot/adaptation_ms"]) == (3, 2.5)
    assert found["inference/p50_ms_batch_64"] == 1.5
    assert (found["parameters"], found["flops"]) == (1234567, 3400)
    assert (found["training/steps"], found["training/best_step"], found["training/seconds"]) == (
        1000,
        800,
        12.5,
    )


def test_values_leave_out_what_is_absent_or_not_finite() -> None:
    bare = summary(baseline=False, metric="mse")
    bare = kit.with_outcome(bare, 1, "new", after=Interval(math.nan, math.inf, 1))
    bare = replace(bare, shots={**bare.shots, 1: replace(bare.shots[1], source_test=None)})
    found = evaluation_table.values(bare)
    assert "5-shot/mse" in found
    assert not [name for name in found if "baseline" in name or "gain" in name]
    assert not [
        name for name in found if name in ("1-shot/mse", "1-shot/mse_half_width", "1-shot/source_mse")
    ]
    assert all(math.isfinite(value) for value in found.values())


def believed(nll: float, ece: float = 0.0123) -> Calibration:
    return Calibration(nll, brier=0.4567, coverage=0.912, set_size=2.345, ece=ece)


def test_report_shows_calibration_of_both() -> None:
    full = summary(coverage=0.9)
    for k, nll in ((1, 0.5), (5, math.nan)):
        full = kit.with_outcome(full, k, "new", calibration=believed(nll))
        full = kit.with_outcome(full, k, "baseline", calibration=believed(1.25, ece=math.nan))
    text = shown(full)
    assert "Calibration (maml / maml)" in text
    rows = {line[:36].strip(): " ".join(line[36:].split()) for line in text.splitlines()}
    assert rows["negative log-likelihood, nats"] == "0.500 / 1.250 ∞ / 1.250"
    assert rows["expected calibration error, %"] == "1.2 / - 1.2 / -"
    assert rows["Brier score"] == "0.457 / 0.457 0.457 / 0.457"
    assert rows["coverage of its 90 % sets, %"] == "91.2 / 91.2 91.2 / 91.2"
    assert rows["classes in such a set"] == "2.35 / 2.35 2.35 / 2.35"


def test_report_shows_calibration_without_a_baseline_or_where_it_has_none() -> None:
    alone = summary(baseline=False, coverage=0.5)
    part = summary(coverage=0.5)
    for k in (1, 5):
        alone = kit.with_outcome(alone, k, "new", calibration=believed(0.5))
        part = kit.with_outcome(part, k, "new", calibration=believed(0.5))
        part = kit.with_outcome(part, k, "baseline", calibration=believed(0.5))
    text = shown(alone)
    assert "Calibration (maml)" in text
    assert next(line for line in text.splitlines() if "Brier" in line).split()[-2:] == ["0.457", "0.457"]
    assert "coverage of its 50 % sets" in text
    part = replace(part, shots={**part.shots, 1: replace(part.shots[1], baseline=None)})  # as at k = 0
    line = next(line for line in shown(part).splitlines() if "Brier" in line)
    assert " ".join(line.split()) == "Brier score 0.457 / - 0.457 / 0.457"


def with_other_metrics(made: Summary) -> Summary:
    for k, mean in ((1, 0.25), (5, 0.5)):
        metrics = {"balanced_accuracy": Interval(mean, 0.01, 2), "wrong_by": Interval(3 * mean, math.nan, 2)}
        before = {"balanced_accuracy": Interval(mean / 5, 0.02, 2)}
        made = kit.with_outcome(made, k, "new", metrics=metrics, metrics_before=before)
    return made


def test_report_shows_other_metrics_in_their_units_a_row_each() -> None:
    lines = [" ".join(line.split()) for line in shown(with_other_metrics(summary())).splitlines()]
    at = lines.index("Other metrics (new tasks, adapted)")
    assert lines[at + 1] == "balanced accuracy, % 25.0 ± 1.0 50.0 ± 1.0"
    assert lines[at + 2] == "wrong by 0.750 ± ? 1.500 ± ?"
    assert "Other metrics" not in shown(summary(metric="mse"))


def test_values_have_other_metrics() -> None:
    found = evaluation_table.values(with_other_metrics(summary()))
    assert (found["5-shot/balanced_accuracy"], found["5-shot/balanced_accuracy_half_width"]) == (0.5, 0.01)
    assert found["1-shot/balanced_accuracy_before_adaptation"] == pytest.approx(0.05)
    assert found["1-shot/wrong_by"] == 0.75
    assert "1-shot/wrong_by_half_width" not in found  # not finite


def test_report_says_that_reals_have_no_calibration() -> None:
    sentence = "No calibration: a predictor of reals gives a mean and no variance"
    assert shown(summary(metric="mse")).count(sentence) == 1
    assert "calibration" not in shown(summary())


def test_report_marks_budgets_with_what_was_measured() -> None:
    limited = summary(
        budgets={
            "p95_ms": Verdict(limit=5.0, measured=0.7, kept=True),
            "flops": Verdict(limit=3000, measured=3400, kept=False),
        }
    )
    text = shown(limited)
    assert "  p95 at batch 1 0.7 ms, limit 5 ms: kept\n" in text
    assert "  operations for one input 3,400 FLOP, limit 3,000 FLOP: BROKEN\n" in text
    assert evaluation_table.headline(limited).endswith(", over budget: flops")
    assert "Budget" not in shown(summary(budgets={}))
    assert "budget" not in evaluation_table.headline(summary())


def test_report_names_every_limit_that_a_budget_can_hold() -> None:
    fields = {field.name for field in dataclasses.fields(Budget)} - {"enforce"}
    assert set(LIMITED) == fields


def test_report_shows_the_curve_over_shots_and_what_is_left_out() -> None:
    over = OverShots(
        [1, 2, 5],
        RoleOverShots(Interval(0.5, 0.01, 2), 4.567),
        RoleOverShots(Interval(0.4, 0.02, 2), None),
        Interval(0.1, 0.03, 2),
    )
    lines = shown(
        summary(over_shots=over, left_out={20: "too few"}, source_left_out={5: "none held out"}), 300
    ).splitlines()
    assert (
        "Area under the curve over log2 of 1, 2, 5 shots: maml 50.0 ± 1.0 (95 % of the way at 4.57), "
        "maml 40.0 ± 2.0, gain +10.0 ± 3.0"
    ) in lines
    assert "Left out: k=20, too few" in lines
    assert "Left out: source tasks at k=5, none held out" in lines
    assert "Area under the curve" not in shown(summary(over_shots=None))
    assert "1, 2, 5 points: " in shown(summary(metric="mse", over_shots=over))


@pytest.mark.parametrize(
    ("steps", "examples", "end"),
    [
        (1000, 80000, "best state after 800; 80,000 labelled source examples seen"),
        (1000, None, "; source examples not counted"),
        (1000, 0, "; source examples not counted"),
        (0, 0, "best state after 800"),
    ],
)
def test_report_says_how_many_source_examples_were_seen(steps: int, examples: int | None, end: str) -> None:
    training = TrainingFacts(steps, 800, 12.34, examples)
    line = next(line for line in shown(summary(training=training)).splitlines() if "Training: " in line)
    assert line.endswith(end)


@pytest.mark.parametrize(("device", "words"), [("cpu", "of the whole process"), ("cuda", "on the device")])
def test_report_says_whose_peak_memory_it_is(device: str, words: str) -> None:
    hardware = replace(summary().hardware, device=device)
    assert f"{words} 100 MiB" in shown(summary(hardware=hardware), 200)


def test_report_prints_summaries_of_before(repository: Path) -> None:
    text = shown(Run(repository / "tests" / "data" / "run_format_1").summary("99b1dcdb"))
    for heading in HEADINGS:
        assert text.count(heading) == 1
    assert "Calibration (" not in text
    assert "Other metrics" not in text
    assert "; source examples not counted" in text


def test_report_in_a_file_breaks_no_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    evaluation_table.show(
        summary(name="a_name_of_a_strategy_that_takes_all_of_a_narrow_terminal_and_more_than_that")
    )
    assert " needs for the same  " in capsys.readouterr().out
