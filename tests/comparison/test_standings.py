"""Contestants at one k: intervals, curves, gains and what they are measured against."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from coldstart_cli.comparison.contestants import settings_of
from coldstart_cli.comparison.results import read
from coldstart_cli.comparison.standings import Terms, at_one_k, hashes, mean_known, paired, references_of

Make = Callable[..., Path]
TERMS = Terms(higher_is_better=True, confidence=0.95, zone=0.005)
EVALUATION = Path("evaluations") / "0123abcd"


def validated(path: Path, value: float) -> None:
    """Adds a record of a validation task at k = 1."""
    records = path / EVALUATION / "records.jsonl"
    row = {**json.loads(records.read_text().splitlines()[1]), "split": "validation", "value": value}
    records.write_text(records.read_text() + json.dumps(row) + "\n")


def test_paired_takes_the_seeds_both_have_and_without_any_the_means() -> None:
    a = np.array([[1.0, 2.0], [3.0, 5.0]])
    b = np.array([[0.5, 0.5], [1.0, 1.0]])
    assert paired(a, [0, 1], b, [1, 2]).tolist() == [[2.5, 4.5]]
    assert paired(a, [0, 1], b, [2, 3]).tolist() == [[1.25, 2.75]]


def test_a_standing_follows_from_the_records(make_run: Make) -> None:
    values = {f"t{i}": 0.5 + i / 100 for i in range(8)}
    path = make_run("a", {1: values}, steps=(0, 1, 3))
    ((member,),) = settings_of(read([path])[0])
    tasks = sorted(member.shots[1][0].adapted)
    at = at_one_k([member], 1, tasks, {}, TERMS)
    own = at.results["maml"]
    oracle = stats.ttest_1samp(list(values.values()), 0).confidence_interval(0.95)
    assert own.mean == pytest.approx(np.mean(list(values.values())))
    assert own.half_width == pytest.approx((oracle.high - oracle.low) / 2)
    assert list(own.curve) == [0, 1, 3] and own.before == own.curve[0]
    assert own.curve[0].mean == pytest.approx(own.mean / 2) and own.curve[3].mean == own.mean
    low, high = own.bootstrap
    assert low is not None and high is not None and low < own.mean < high
    assert (own.rank, own.steps, own.gain, own.calibration, own.metrics) == (1, 3, None, None, {})
    assert at.n_tasks == 8 and at.winners == ["maml"] and at.pairs == [] and hashes(tasks)[0] == "t0-1"


def test_steps_are_a_list_where_seeds_chose_different_ones(tmp_path: Path, make_run: Make) -> None:
    values = {"t0": 0.5, "t1": 0.6}
    make_run("a", {1: values})
    summary = make_run("b", {1: values}, seed=1) / EVALUATION / "summary.json"
    made = json.loads(summary.read_text())
    made["shots"]["1"]["new"]["step"] = 0
    summary.write_text(json.dumps(made))
    ((member,),) = settings_of(read([tmp_path])[0])
    at = at_one_k([member], 1, sorted(member.shots[1][0].adapted), {}, TERMS)
    assert at.results["maml"].steps == [0, 1]


def test_other_metrics_are_those_that_every_run_has(tmp_path: Path, make_run: Make) -> None:
    values = {"t0": 0.5, "t1": 0.6}
    for seed, names in enumerate((("f1", "auc"), ("f1",))):
        records = make_run(f"s{seed}", {1: values}, seed=seed) / EVALUATION / "records.jsonl"
        rows = [json.loads(line) for line in records.read_text().splitlines()]
        changed = [{**row, "metrics": dict.fromkeys(names, row["value"] / 2)} for row in rows]
        records.write_text("".join(json.dumps(row) + "\n" for row in changed))
    ((member,),) = settings_of(read([tmp_path])[0])
    own = at_one_k([member], 1, sorted(member.shots[1][0].adapted), {}, TERMS).results["maml"]
    assert list(own.metrics) == ["f1"] and own.metrics["f1"].mean == pytest.approx(0.275)


def test_calibration_is_the_mean_over_the_seeds_that_have_it(tmp_path: Path, make_run: Make) -> None:
    names = ("nll", "brier", "coverage", "set_size", "ece")
    for seed, value in enumerate((0.2, 0.4, None)):
        summary = make_run(f"s{seed}", {1: {"t0": 0.5, "t1": 0.6}}, seed=seed) / EVALUATION / "summary.json"
        made = json.loads(summary.read_text())
        made["shots"]["1"]["new"]["calibration"] = {} if value is None else dict.fromkeys(names, value)
        summary.write_text(json.dumps(made))
    ((member,),) = settings_of(read([tmp_path])[0])
    own = at_one_k([member], 1, sorted(member.shots[1][0].adapted), {}, TERMS).results["maml"]
    assert own.calibration is not None and own.calibration.ece == pytest.approx(0.3)


@pytest.mark.parametrize(("headline", "best"), [("accuracy", 0.7), ("mse", 0.6)])
def test_validation_chooses_the_scratch_that_gains_are_measured_against(
    tmp_path: Path, make_run: Make, headline: str, best: float
) -> None:
    values = {1: {"t0": 0.5, "t1": 0.6}}
    make_run("m", values, headline=headline)
    make_run("never", values, strategy="scratch", settings={"lr": 0.3}, headline=headline)
    for lr, value in ((0.1, 0.7), (0.2, 0.6)):
        path = make_run(f"s{lr}", values, strategy="scratch", settings={"lr": lr}, headline=headline)
        validated(path, value)
    (members,) = settings_of(read([tmp_path])[0])
    chosen = references_of(members, 1, headline == "accuracy")
    assert list(chosen) == ["maml"]
    # an error that was never measured is no low one
    assert chosen["maml"].settings["strategy.lr"] == {0.7: 0.1, 0.6: 0.2}[best]


def test_a_zone_of_errors_is_a_share_of_the_best_mean() -> None:
    terms = Terms(higher_is_better=False, confidence=0.95, zone=None)
    assert terms.margin(0.4) == pytest.approx(0.02) and np.isnan(terms.margin(None))
    assert TERMS.margin(None) == 0.005


def test_what_is_not_known_is_no_part_of_a_mean() -> None:
    assert mean_known([1.0, None, 3.0, float("nan")]) == 2.0 and mean_known([None]) is None
