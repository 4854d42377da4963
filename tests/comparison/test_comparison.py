"""The comparison dict: on the same tasks, paired, with everything left out said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from coldstart_cli.comparison.comparison import compare
from coldstart_cli.comparison.findings import Comparison, as_json
from coldstart_cli.comparison.results import read
from coldstart_cli.errors import RequestError
from coldstart_cli.metrics.json_edge import from_json

Make = Callable[..., Path]


def compared(*paths: Path, zone: float = 0.005) -> Comparison:
    results, left_out = read(paths)
    found = compare(results, left_out, confidence=0.95, zone=zone)
    written = as_json(found)
    json.dumps(written, allow_nan=False)  # plain values, and nothing that JSON does not know
    assert as_json(from_json(Comparison, written)) == written
    return found


def tasks(n: int, mean: float, spread: float = 0.1, seed: int = 0) -> dict[str, float]:
    values = np.random.default_rng(seed).normal(mean, spread, n)
    return {f"t{i}": float(v) for i, v in enumerate(values)}


def test_means_and_pairs_are_taken_on_the_shared_tasks(tmp_path: Path, make_run: Make) -> None:
    a, b = tasks(30, 0.8, seed=1), tasks(20, 0.6, seed=2)
    make_run("a", {1: a}, strategy="protonet")
    make_run("b", {1: b})
    found = compared(tmp_path)
    (setting,) = found.settings
    shot = setting.shots[1]
    shared = sorted(b)
    assert shot.n_tasks == 20 and sorted(setting.tasks[1]) == sorted(f"{t}-1" for t in shared)
    assert shot.results["protonet"].mean == pytest.approx(np.mean([a[t] for t in shared]))
    difference = np.array([a[t] - b[t] for t in shared])
    (pair,) = shot.pairs
    sign = 1 if pair.a == "protonet" else -1
    oracle = stats.ttest_1samp(difference, 0)
    low, high = oracle.confidence_interval(0.95)
    assert sign * pair.difference == pytest.approx(difference.mean())
    assert pair.half_width == pytest.approx((high - low) / 2)
    assert pair.p == pytest.approx(oracle.pvalue)
    assert pair.p_wilcoxon == pytest.approx(stats.wilcoxon(difference).pvalue, rel=0.05)
    assert shot.winners == ["protonet"] and list(shot.results) == ["protonet", "maml"]
    assert any("20 tasks that all share (protonet has 30)" in note for note in found.notes)


def test_the_gain_is_paired_over_the_baseline_of_the_same_seed(tmp_path: Path, make_run: Make) -> None:
    ours = [{1: tasks(20, 0.8, seed=s)} for s in (1, 2, 3)]
    base = [{1: tasks(20, 0.5, seed=s)} for s in (4, 5, 6)]
    for seed in range(3):
        make_run(f"r{seed}", ours[seed], seed=seed, baseline=base[seed])
    shot = compared(tmp_path).settings[0].shots[1]
    matrix = [[o[1][t] - b[1][t] for t in o[1]] for o, b in zip(ours, base, strict=True)]
    assert shot.results["maml"].gain.mean == pytest.approx(np.mean(matrix))
    assert shot.results["scratch"].gain is None


def test_validation_chooses_among_runs_of_scratch_that_gains_are_measured_against(
    tmp_path: Path, make_run: Make
) -> None:
    make_run("m", {1: tasks(9, 0.9)})
    for name, lr, new, validation in (("s1", 0.1, 0.3, 0.7), ("s2", 0.2, 0.5, 0.6)):
        path = make_run(name, {1: tasks(9, new)}, strategy="scratch", settings={"lr": lr})
        records = path / "evaluations" / "0123abcd" / "records.jsonl"
        row = {**json.loads(records.read_text().splitlines()[1]), "split": "validation", "value": validation}
        records.write_text(records.read_text() + json.dumps(row) + "\n")
    results = compared(tmp_path).settings[0].shots[1].results
    assert results["maml"].gain.mean == pytest.approx(0.6)


def test_errors_are_better_when_they_are_smaller(tmp_path: Path, make_run: Make) -> None:
    make_run("a", {5: tasks(40, 0.2, 0.01)}, headline="mse", strategy="good")
    make_run("b", {5: tasks(40, 0.9, 0.01, seed=3)}, headline="mse", strategy="bad")
    shot = compared(tmp_path).settings[0].shots[5]
    assert shot.winners == ["good"] and list(shot.results) == ["good", "bad"]
    (pair,) = shot.pairs
    better = pair.difference if pair.a == "good" else -pair.difference
    assert better == pytest.approx(0.7, abs=0.02)
    assert shot.zone == pytest.approx(0.05 * shot.results["good"].mean)


def test_different_objectives_are_refused_naming_what_can_be_compared(tmp_path: Path, make_run: Make) -> None:
    make_run("a", {1: tasks(5, 0.5)})
    make_run("b", {1: tasks(5, 0.5)}, headline="mse")
    with pytest.raises(RequestError, match=r"1 by accuracy such as .*a, 1 by mse such as .*b"):
        compared(tmp_path)


def test_a_contestant_on_other_tasks_is_left_out_at_that_k_and_named(tmp_path: Path, make_run: Make) -> None:
    make_run("a", {1: tasks(5, 0.5), 5: tasks(5, 0.6)}, strategy="one")
    make_run("b", {1: {f"x{i}": 0.5 for i in range(4)}, 5: tasks(5, 0.6)}, strategy="two")
    found = compared(tmp_path)
    (setting,) = found.settings
    assert list(setting.shots[1].results) == ["one"] and len(setting.shots[5].results) == 2
    assert "at k = 1 two was evaluated on other tasks and is left out" in found.notes


def test_data_sets_are_never_pooled(tmp_path: Path, make_run: Make) -> None:
    make_run("a", {1: tasks(5, 0.5)})
    make_run("b", {1: {f"x{i}": 0.4 + i / 100 for i in range(5)}}, strategy="protonet")
    found = compared(tmp_path)
    assert [len(s.contestants) for s in found.settings] == [1, 1]


def test_a_diverged_task_has_no_mean_and_loses_to_nobody_by_accident(tmp_path: Path, make_run: Make) -> None:
    make_run("a", {1: tasks(10, 0.5)}, strategy="fine")
    make_run("b", {1: {**tasks(10, 0.5), "t3": None}}, strategy="gone")  # type: ignore[dict-item]
    shot = compared(tmp_path).settings[0].shots[1]
    assert shot.results["gone"].mean is None and shot.results["fine"].mean is not None
    assert list(shot.results) == ["fine", "gone"] and shot.pairs[0].difference is None


def test_runs_are_listed_with_what_differs(tmp_path: Path, make_run: Make) -> None:
    make_run("a", {1: tasks(5, 0.5)}, settings={"inner_lr": 0.1})
    make_run("b", {1: tasks(5, 0.5)}, settings={"inner_lr": 0.2}, seed=1)
    runs = compared(tmp_path).runs
    differs = [run.differs for run in runs]
    assert {} in differs and {"strategy.inner_lr", "seed"} <= set(max(differs, key=len))
    assert all("inner_lr" in run.config for run in runs)


def test_labels_needed_are_read_off_the_scratch_that_gains_are_measured_against(
    tmp_path: Path, make_run: Make
) -> None:
    make_run("m", {1: tasks(9, 0.5, 0.01), 5: tasks(9, 0.6, 0.01)})
    for name, lr, (one, five), validation in (("s1", 0.1, (0.3, 0.4), 0.9), ("s2", 0.2, (0.4, 0.5), 0.1)):
        values = {1: tasks(9, one, 0.01), 5: tasks(9, five, 0.01)}
        path = make_run(name, values, strategy="scratch", settings={"lr": lr})
        records = path / "evaluations" / "0123abcd" / "records.jsonl"
        first = json.loads(records.read_text().splitlines()[1])
        rows = [{**first, "split": "validation", "k_shot": k, "value": validation} for k in (1, 5)]
        records.write_text(records.read_text() + "".join(json.dumps(row) + "\n" for row in rows))
    contestants = {c.name: c for c in compared(tmp_path).settings[0].contestants}
    # the other scratch, which validation tasks did not choose, reaches .5 at five labels
    assert contestants["maml"].over_shots.label_efficiency == {1: None, 5: None}


def test_the_direction_of_a_metric_is_what_the_run_says(tmp_path: Path, make_run: Make) -> None:
    for name, mean in (("high", 0.9), ("low", 0.1)):
        path = make_run(name, {1: tasks(30, mean, 0.01)}, strategy=name, headline="r2")
        summary = path / "evaluations" / "0123abcd" / "summary.json"
        summary.write_text(json.dumps({**json.loads(summary.read_text()), "higher_is_better": True}))
    shot = compared(tmp_path).settings[0].shots[1]
    assert shot.winners == ["high"] and shot.zone == pytest.approx(0.05 * 0.9, rel=0.05)


def changed_rows(run: Path, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """Every record of the run's evaluation, changed."""
    records = run / "evaluations" / "0123abcd" / "records.jsonl"
    rows = [change(json.loads(line)) for line in records.read_text().splitlines()]
    records.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_tasks_of_one_origin_are_a_cluster_in_every_interval_and_test(tmp_path: Path, make_run: Make) -> None:
    values = {"one": tasks(30, 0.8, seed=1), "two": tasks(30, 0.6, seed=2)}

    def of_five_persons(row: dict[str, object]) -> dict[str, object]:
        return {**row, "origin": f"person {int(str(row['task']).rpartition('t')[2]) % 5}"}

    for name, own in values.items():
        changed_rows(make_run(name, {1: own}, strategy=name), of_five_persons)
    shot = compared(tmp_path).settings[0].shots[1]
    assert (shot.n_tasks, shot.n_origins) == (30, 5)

    def by_person(own: dict[str, float]) -> list[float]:
        return [float(np.mean([own[f"t{i}"] for i in range(30) if i % 5 == person])) for person in range(5)]

    one, two = by_person(values["one"]), by_person(values["two"])
    low, high = stats.ttest_1samp(one, 0).confidence_interval(0.95)
    assert shot.results["one"].half_width == pytest.approx((high - low) / 2)
    (pair,) = shot.pairs
    assert pair.p == pytest.approx(stats.ttest_rel(one, two).pvalue)
    assert pair.tasks_needed is None


def test_what_each_task_chose_itself_is_what_is_compared(tmp_path: Path, make_run: Make) -> None:
    values = tasks(10, 0.5)
    run = make_run("one", {1: values}, strategy="one")
    records = run / "evaluations" / "0123abcd" / "records.jsonl"
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    own = [{**r, "step": 7, "value": 0.9, "chosen": True} for r in rows if r["split"] == "new"]
    records.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows, *own]))
    (setting,) = compared(tmp_path).settings
    assert setting.shots[1].results["one"].mean == pytest.approx(0.9)


def test_an_interval_of_errors_below_zero_is_explained(tmp_path: Path, make_run: Make) -> None:
    wild = {f"t{i}": 3.0 if i == 0 else 0.01 for i in range(12)}
    make_run("a", {5: wild}, strategy="r2d2", headline="mse")
    make_run("b", {5: dict.fromkeys(wild, 4.0)}, headline="mse")
    found = compared(tmp_path)
    (note,) = [note for note in found.notes if "below 0" in note]
    assert note.startswith("no mse is below 0") and "(r2d2 at k = 5)" in note
    standing = found.settings[0].shots[5].results["r2d2"]
    assert standing.mean is not None and standing.half_width is not None
    assert standing.mean - standing.half_width < 0  # it is told, not cut
