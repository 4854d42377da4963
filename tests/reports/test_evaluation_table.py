"""The table a person reads: all four evaluations, names as they are, narrow terminals too."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from coldstart_cli.metrics.results import (
    Calibration,
    Interval,
    Summary,
    TrainingFacts,
)
from coldstart_cli.reports import evaluation_table
from coldstart_cli.runs.run import Run
from tests.kit import summaries as kit
from tests.kit.summaries import evaluated

HEADINGS = ("Cross-task", "Learning curve", "Transfer performance", "Inference time")


def shown(summary: Summary, width: int = 120) -> str:
    stream = io.StringIO()
    evaluation_table.show(summary, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def test_report_prints_the_four_evaluations() -> None:
    text = shown(evaluated())
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
    row = next(line for line in shown(evaluated()).splitlines() if "new tasks, adapted" in line)
    assert "34.5 ± " in row
    text = shown(evaluated(metric="mse"))
    row = next(line for line in text.splitlines() if "new tasks, adapted" in line)
    assert "0.345 ± " in row
    assert "-way" not in text
    assert "5 points" in text


@pytest.mark.parametrize("name", ["[red]me[/red]", "[/nope]", "[bold", "a]b[", ":smile: \\[x]"])
def test_report_prints_names_as_they_are(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    evaluation_table.show(evaluated(name=name))
    text = capsys.readouterr().out
    assert f"{name} ({name}) on {name}: " in text
    assert f"{name}, the same tasks" in text
    assert f"(cpu: {name}, 2 threads)" in text


@pytest.mark.parametrize("width", [40, 10, 300])
@pytest.mark.parametrize("baseline", [True, False])
def test_report_fits_any_width(width: int, baseline: bool) -> None:
    text = " ".join(shown(evaluated(baseline=baseline), width).split())
    assert "One training seed" in text
    assert baseline or "Transfer" not in text


def test_report_shows_ablations_as_differences_where_there_are_any() -> None:
    made = kit.with_shots(
        evaluated(), ablations=lambda k, shot: {"swap": Interval(-0.25, 0.03, 100)} if k == 5 else None
    )
    (line,) = (line for line in shown(made).splitlines() if line.strip().startswith("swap"))
    assert "-25.0 ± 3.0" in line.replace("−", "-")
    assert "Ablations" in shown(made) and "Ablations" not in shown(evaluated())


def test_report_without_baseline_has_no_transfer() -> None:
    text = shown(evaluated(baseline=False))
    assert "Transfer performance" not in text
    assert "gain" not in text


def test_report_without_source_test_shows_a_dash() -> None:
    bare = kit.with_shots(evaluated(), source_test=None, gap=None)
    lines = shown(bare).splitlines()
    for label in ("source tasks", "gap from source"):
        assert next(line for line in lines if label in line).split()[-2:] == ["-", "-"]


def test_report_names_transduction_and_a_state_never_chosen() -> None:
    text = shown(evaluated(transductive=True, training=TrainingFacts(0, 0, 0.0, 0)))
    assert "Transductive: a prediction may depend on its batch." in text
    assert "best state" not in text


def test_report_says_where_a_baseline_never_gets() -> None:
    full = kit.with_shots(evaluated(), baseline_shots=math.inf)
    line = next(line for line in shown(full).splitlines() if "needs for the same" in line)
    assert line.split()[-2:] == [">", "5"]


def test_report_survives_one_task_and_numbers_that_are_not_finite() -> None:
    for mean in (math.nan, math.inf):
        odd = kit.with_outcome(evaluated(), 1, "new", after=Interval(mean, math.inf, 1))
        odd = kit.with_outcome(odd, 5, "new", after=Interval(0.5, math.inf, 1))
        text = shown(odd)
        assert "diverged" in text and "50.0 ± ?" in text and "nan" not in text and "inf" not in text


def test_headline_is_one_line_of_the_first_k() -> None:
    line = evaluation_table.headline(evaluated())
    assert line.startswith("k=1 accuracy 34.5 ± ")
    assert ", gain over baseline -20.0 ± " in line
    assert "gain" not in evaluation_table.headline(evaluated(baseline=False))


def test_values_are_the_numbers_of_the_summary_by_name() -> None:
    full = evaluated(training=TrainingFacts(1000, 800, 12.5, None))
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
    bare = evaluated(baseline=False, metric="mse")
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
    full = evaluated(coverage=0.9)
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
    alone = evaluated(baseline=False, coverage=0.5)
    part = evaluated(coverage=0.5)
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
    lines = [" ".join(line.split()) for line in shown(with_other_metrics(evaluated())).splitlines()]
    at = lines.index("Other metrics (new tasks, adapted)")
    assert lines[at + 1] == "balanced accuracy, % 25.0 ± 1.0 50.0 ± 1.0"
    assert lines[at + 2] == "wrong by 0.750 ± ? 1.500 ± ?"
    assert "Other metrics" not in shown(evaluated(metric="mse"))


def test_values_have_other_metrics() -> None:
    found = evaluation_table.values(with_other_metrics(evaluated()))
    assert (found["5-shot/balanced_accuracy"], found["5-shot/balanced_accuracy_half_width"]) == (0.5, 0.01)
    assert found["1-shot/balanced_accuracy_before_adaptation"] == pytest.approx(0.05)
    assert found["1-shot/wrong_by"] == 0.75
    assert "1-shot/wrong_by_half_width" not in found  # not finite


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
        evaluated(name="a_name_of_a_strategy_that_takes_all_of_a_narrow_terminal_and_more_than_that")
    )
    assert " needs for the same  " in capsys.readouterr().out
