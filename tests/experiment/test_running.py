"""A config from its first step to its table, and what is found the second time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coldstart_cli.config import composition
from coldstart_cli.experiment import parts
from coldstart_cli.experiment.running import Options, reevaluate, train
from coldstart_cli.runs.run import Run

QUIET = Options(quiet=True, dry_run=False, command_line=["coldstart", "train"], show="nothing")


@pytest.fixture
def config(sines: dict[str, Any], tmp_path: Path, torch_settings: None) -> Iterator[dict[str, Any]]:
    yield {**sines, "outputs": str(tmp_path / "outputs")}


def test_a_run_is_made_once_found_again_and_evaluated_on_other_shots(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(config, QUIET)
    run = Run(first.path)
    assert run.finished and not first.found and run.state["steps"] == 2
    summary = run.evaluation(first.evaluation) / "summary.json"
    made = summary.stat().st_mtime_ns
    again = train(config, QUIET)
    assert again.found and (again.path, again.evaluation) == (first.path, first.evaluation)
    other = reevaluate({**config, "evaluation": {**config["evaluation"], "k_shots": [2]}}, run, QUIET)
    assert not other.found and other.path == first.path and other.evaluation != first.evaluation
    assert list(run.summary(other.evaluation).shots) == [2] and summary.stat().st_mtime_ns == made
    assert capsys.readouterr() == ("", "")


def test_a_training_alone_evaluates_nothing(config: dict[str, Any]) -> None:
    options = Options(quiet=True, dry_run=False, command_line=[], train_only=True)
    outcome = train(config, options)
    assert Run(outcome.path).finished and not list(outcome.path.glob("evaluations/*"))
    assert outcome.line == str(outcome.path)


def test_a_dry_run_leaves_nothing_behind(config: dict[str, Any], tmp_path: Path) -> None:
    outcome = train(config, Options(quiet=True, dry_run=True, command_line=[]))
    assert outcome.line.startswith("about ") and list(tmp_path.iterdir()) == []


@pytest.fixture
def points(tmp_path: Path, torch_settings: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The config of a run on an npz file that is named by a relative path."""
    monkeypatch.setattr(parts, "_sources", {})  # kept by path, and paths are relative here
    for number, name in enumerate(("here", "there")):
        folder = tmp_path / name
        folder.mkdir()
        x = np.random.default_rng(number).normal(0, 1, (80, 3))
        np.savez(folder / "x.npz", x=x, y=np.arange(80) % 8)
    monkeypatch.chdir(tmp_path / "here")
    ((_, config),) = composition.points(
        ["experiment=smoke", "dataset=arrays", "dataset.root=x.npz", "dataset.n_way=2", "model=mlp",
         "model.hidden=[4]", "strategy=protonet", "baseline=null", "hardware=cpu", "hardware.threads=1",
         "training.steps=1", "evaluation.n_tasks=2", "evaluation.n_selection_tasks=2",
         "evaluation.timed_seconds=0.01", "logger=[]", f"outputs={tmp_path / 'outputs'}"]
    )  # fmt: skip
    return config


def test_a_run_knows_its_data_from_another_folder(
    points: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(train(points, QUIET).path)
    assert run.config["dataset"]["root"] == str(tmp_path / "here" / "x.npz")
    monkeypatch.chdir(tmp_path / "there")
    asked = {**run.config, "evaluation": {**run.config["evaluation"], "k_shots": [2]}}
    assert reevaluate(asked, run, QUIET).path == run.path


def test_other_data_at_the_same_place_are_named(points: dict[str, Any], tmp_path: Path) -> None:
    run = Run(train(points, QUIET).path)
    (tmp_path / "there" / "x.npz").replace(tmp_path / "here" / "x.npz")
    with pytest.warns(RuntimeWarning, match=r"x\.npz does not hold the data that .* was trained on"):
        reevaluate(run.config, run, QUIET)


def test_inputs_of_another_scale_are_named(points: dict[str, Any], tmp_path: Path) -> None:
    run = Run(train(points, QUIET).path)
    x = np.random.default_rng(0).normal(0, 1, (80, 3))
    np.savez(tmp_path / "centi.npz", x=100 * x + 500, y=np.arange(80) % 8)
    other = {**run.config["dataset"], "root": str(tmp_path / "centi.npz")}
    with pytest.warns(RuntimeWarning, match="lie far outside what the network was trained on"):
        reevaluate({**run.config, "dataset": other}, run, QUIET)


def test_new_rows_alone_are_evaluated_as_beside_their_source(
    tmp_path: Path, torch_settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_sources", {})
    g = np.random.default_rng(0)
    rows = [
        (part, label, *(g.normal(c + shift, 0.3, 2)))
        for part, shift, n in (("train", 0.0, 14), ("new", 0.4, 8))
        for c, label in enumerate("abc")
        for _ in range(n)
    ]
    head = "part,label,u,v\n"
    lines = [f"{part},{label},{u:.3f},{v:.3f}\n" for part, label, u, v in rows]
    (tmp_path / "both.csv").write_text(head + "".join(lines))
    (tmp_path / "new.csv").write_text(head + "".join(line for line in lines if line.startswith("new")))
    ((_, config),) = composition.points(
        ["experiment=smoke", "dataset=tabular", f"dataset.root={tmp_path / 'both.csv'}",
         "dataset.label_column=label", "dataset.split_column=part", "dataset.split_by=file",
         "dataset.n_way=null", "dataset.k_shot=1", "dataset.n_query=3", "model=mlp", "model.hidden=[4]",
         "strategy=finetune", "baseline=null", "hardware=cpu", "hardware.threads=1", "training.steps=5",
         "evaluation.n_query=3", "evaluation.n_tasks=3", "evaluation.n_selection_tasks=2",
         "evaluation.k_shots=[0,2]", "evaluation.timed_seconds=0.01", "logger=[]",
         f"outputs={tmp_path / 'outputs'}"]
    )  # fmt: skip
    first = train(config, QUIET)
    run = Run(first.path)
    alone = {**run.config["dataset"], "root": str(tmp_path / "new.csv")}
    again = reevaluate({**run.config, "dataset": alone}, run, QUIET)

    def found(name: str) -> list[tuple[str, int, float]]:
        rows = map(json.loads, (run.evaluation(name) / "records.jsonl").read_text().splitlines())
        return [(r["task_hash"], r["step"], r["value"]) for r in rows if r["split"] == "new"]

    assert found(again.evaluation) == found(first.evaluation) != []
