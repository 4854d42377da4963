"""What a contestant is and costs over its runs, and what it needs in labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.comparison.contestant_facts import facts, over_shots
from coldstart_cli.comparison.contestants import settings_of
from coldstart_cli.comparison.findings import ContestantFacts, OverShots, Training
from coldstart_cli.comparison.results import read
from coldstart_cli.metrics.json_edge import to_json
from coldstart_cli.metrics.results import Verdict
from tests.kit.verdicts import at_k

Make = Callable[..., Path]
VALUES = {1: {"t0": 0.5, "t1": 0.6}}
UNKNOWN = OverShots(None, None, {})


def of_runs(*paths: Path) -> ContestantFacts:
    ((member, *_),) = settings_of(read(paths)[0])
    return facts(member, UNKNOWN)


def changed(path: Path, **parts: Any) -> Path:
    """The run with other parts of its summary."""
    summary = path / "evaluations" / "0123abcd" / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), **parts}))
    return path


def test_costs_are_medians_over_runs(make_run: Make) -> None:
    times = [{"1": {"p50_ms": 1.0, "p95_ms": p95}} for p95 in (1.0, 9.0, None)]
    found = of_runs(*(make_run(f"r{s}", VALUES, seed=s, costs={"inference": t}) for s, t in enumerate(times)))
    assert found.seeds == [0, 1, 2] and len(found.runs) == 3
    assert found.costs is not None and list(found.costs.inference) == [1]
    assert found.costs.inference[1].p95_ms == 5.0  # what was not measured in one run counts for the others
    assert to_json(found.costs).keys() == {
        "inference", "parameters", "flops", "peak_memory", "adaptation_ms"
    }  # fmt: skip
    assert (found.costs.parameters, found.costs.adaptation_ms) == (1000, {1: 10.0})


def test_a_budget_was_kept_where_every_run_kept_it(make_run: Make) -> None:
    def limited(seed: int, **measured: float) -> Path:
        verdicts = {n: {"limit": 2.0, "measured": m, "kept": m <= 2} for n, m in measured.items()}
        return changed(make_run(f"r{seed}", VALUES, seed=seed), budgets=verdicts)

    found = of_runs(limited(0, p95_ms=1.0, flops=1.0), limited(1, p95_ms=2.0), limited(2, p95_ms=9.0))
    assert found.budgets == {"p95_ms": Verdict(limit=2.0, measured=2.0, kept=False)}


def test_training_of_an_early_version_counted_no_examples(make_run: Make) -> None:
    found = of_runs(make_run("a", VALUES)).training
    assert found is not None and (found.steps, found.seconds, found.examples) == (10, 1.0, None)
    assert found.trials is None  # nor did it say how many trials chose its settings


def test_a_baseline_has_no_runs_and_no_costs_of_its_own(tmp_path: Path, make_run: Make) -> None:
    make_run("a", VALUES, baseline=VALUES)
    ((own, baseline),) = settings_of(read([tmp_path])[0])
    found = facts(baseline, UNKNOWN)
    assert found.baseline and found.runs == [] and found.costs is found.hardware is None
    assert found.training == Training(steps=0, seconds=None, examples=0, adaptation_steps=1, trials=1)
    assert facts(own, UNKNOWN).hardware is not None


@pytest.mark.parametrize(
    ("means", "reference", "needed"),
    [((0.5, 0.7), {1: 0.3, 5: 0.5}, {1: 5.0, 5: None}), ((0.5, 0.7), {}, {1: None, 5: None})],
)
def test_labels_that_the_reference_needs_are_read_off_its_curve(
    means: Sequence[float], reference: dict[int, float], needed: dict[int, float | None]
) -> None:
    shots = {k: at_k({"a": mean}, []) for k, mean in zip((1, 5), means, strict=True)}
    found = over_shots("a", shots, reference, True)
    assert found.label_efficiency == needed and found.area == pytest.approx(0.6)


def test_no_label_has_no_place_on_the_axis_of_labels() -> None:
    found = over_shots("a", {0: at_k({"a": 0.5}, [])}, {}, True)
    assert (found.area, found.shots_to_95, found.label_efficiency) == (None, None, {0: None})
