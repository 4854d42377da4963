"""Summaries on disk: what was there stays as it was, and what earlier versions wrote is read."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.files.durable import finite
from coldstart_cli.metrics.json_edge import to_json
from coldstart_cli.metrics.results import Interval, Names, Outcome, Summary, summary_of
from tests.kit import summaries as kit

ADDED = {"units", "metrics", "metrics_before"}
"""Keys that summaries have gained since the stored runs were written."""


def stored(repository: Path, folder: str) -> list[dict[str, Any]]:
    found = sorted((repository / "tests" / "data" / folder).rglob("summary.json"))
    return [json.loads(path.read_text()) for path in found]


def without(value: Any, keys: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: without(item, keys) for key, item in value.items() if key not in keys}
    return value


def test_summary_on_disk_has_the_keys_of_before_in_their_order_and_no_others(repository: Path) -> None:
    found = stored(repository, "flat_layout")
    assert len(found) > 3
    for before in found:
        after = finite(to_json(summary_of(before)))
        assert json.dumps(without(after, ADDED)) == json.dumps(before)


def test_summary_of_the_first_version_is_read(repository: Path) -> None:
    (value,) = stored(repository, "run_format_1")
    summary = summary_of(value)
    assert (summary.headline, summary.higher_is_better, summary.unit) == ("mse", False, "")
    assert summary.over_shots is None
    assert summary.budgets == summary.left_out == summary.source_left_out == {}
    assert summary.training.examples is None
    new = summary.shots[1].new
    assert new.after.mean == value["shots"]["1"]["new"]["after"]["mean"]
    assert new.calibration is None
    assert new.metrics == new.metrics_before == {}
    assert summary.costs.inference[64].calls is None
    assert summary.costs.adaptation_ms == {1: value["costs"]["adaptation_ms"]["1"]}


def test_summary_that_knew_no_units_shows_accuracy_in_percent(repository: Path) -> None:
    for value in stored(repository, "flat_layout"):
        summary = summary_of(value)
        assert summary.unit == ("%" if summary.headline == "accuracy" else "")


def made() -> Summary:
    rows = [
        kit.record(role, "new", k, task, step, value, metrics={"macro_f1": value / 3})
        for role in ("strategy", "baseline", "teacher")
        for k in (1, 5)
        for step in (0, 1)
        for task, value in (("a", 0.25), ("b", 0.5 + step / 8))
    ]
    chosen = {"strategy": {1: 1, 5: 0}, "baseline": {1: 1, 5: 1}}
    return kit.summary(rows, chosen, names=Names("maml", "mlp", "toy", "scratch"))


def test_summary_comes_back_as_it_was_written() -> None:
    summary = made()
    assert summary_of(json.loads(json.dumps(to_json(summary)))) == summary
    written = to_json(summary)["shots"]["1"]["new"]
    after = summary.shots[1].new.metrics["macro_f1"]
    assert written["metrics"] == {"macro_f1": {"mean": after.mean, "half_width": after.half_width, "n": 2}}
    assert written["calibration"] == {}


def test_summary_reads_null_as_what_is_not_finite() -> None:
    summary = kit.with_outcome(made(), 1, "new", after=Interval(math.inf, math.inf, 1))
    summary = kit.with_shots(summary, baseline_shots=math.inf)
    written = json.loads(json.dumps(finite(to_json(summary))))
    assert written["shots"]["1"]["new"]["after"] == {"mean": None, "half_width": None, "n": 1}
    back = summary_of(written)
    assert math.isnan(back.shots[1].new.after.mean)
    assert back.shots[1].baseline_shots is not None and math.isnan(back.shots[1].baseline_shots)


def test_summary_without_a_baseline_has_no_keys_of_it() -> None:
    summary = kit.with_shots(made(), baseline=None, gain=None, baseline_shots=None)
    written = to_json(summary)
    assert written["shots"]["1"].keys().isdisjoint({"baseline", "gain", "gap", "baseline_shots"})
    assert written["shots"]["1"]["source_test"] is None
    assert "baseline_read" not in written
    assert summary_of(written) == summary


def test_summary_passes_over_keys_of_a_later_version() -> None:
    written = to_json(made())
    written["later"] = written["shots"]["1"]["new"]["later"] = {"a": 1}
    assert summary_of(written) == made()


OPTIONAL = {"baseline_read", "edges"}  # left out where there is nothing to say


@pytest.mark.parametrize("name", [field.name for field in fields(Summary) if field.name not in OPTIONAL])
def test_summary_names_the_key_that_is_missing(name: str) -> None:
    written = to_json(made())
    del written[name]
    filled = {"higher_is_better", "units", "coverage", "over_shots", "budgets", "left_out", "source_left_out"}
    if name in filled:
        assert isinstance(summary_of(written), Summary)
    else:
        with pytest.raises(KeyError, match=name):
            summary_of(written)


@pytest.mark.parametrize(
    ("place", "value"),
    [("seed", "0"), ("seed", True), ("names", []), ("shots", {"1": 1}), ("n_way", 1.5), ("confidence", "a")],
)
def test_summary_refuses_what_is_of_another_type(place: str, value: object) -> None:
    with pytest.raises(TypeError, match="is not of type"):
        summary_of({**to_json(made()), place: value})


def test_outcome_fields_that_are_new_have_a_value_for_earlier_versions() -> None:
    written = to_json(made())
    outcome = written["shots"]["1"]["new"]
    for name in {field.name for field in fields(Outcome)} & (ADDED | {"calibration"}):
        del outcome[name]
    shot = summary_of(written).shots[1]
    assert shot.new == replace(made().shots[1].new, metrics={}, metrics_before={})
