"""Run directories found at any depth, each once, and those that a sweep lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from coldstart_cli.runs.places import run_directories

Make = Callable[..., Path]
VALUES = {1: {"a": 0.5, "b": 0.75}}


def test_runs_are_found_below_a_folder_and_once_each(tmp_path: Path, make_run: Make) -> None:
    one = make_run("one", VALUES)
    two = make_run("deeper/two", VALUES, seed=1)
    assert run_directories([tmp_path], "runs") == [two, one] or run_directories([tmp_path], "runs") == [
        one,
        two,
    ]
    assert run_directories([one, tmp_path, one], "runs")[0] == one
    assert len(run_directories([one, tmp_path, one], "runs")) == 2


def test_what_a_sweep_lists_elsewhere_is_left_to_who_names_the_sweep(tmp_path: Path, make_run: Make) -> None:
    elsewhere = make_run("elsewhere/one", VALUES)
    sweep = tmp_path / "outputs" / "sweeps" / "stamp"
    sweep.mkdir(parents=True)
    (sweep / "runs.json").write_text(json.dumps({"format": 1, "runs": [{"path": str(elsewhere)}]}))
    assert run_directories([tmp_path / "outputs"], "outputs", sweeps=False) == []
    assert run_directories([tmp_path / "outputs"], "outputs") == [elsewhere]
    assert run_directories([sweep], "outputs", sweeps=False) == [elsewhere]


def test_runs_of_a_sweep_are_those_it_lists(tmp_path: Path, make_run: Make) -> None:
    kept = make_run("outputs/one", VALUES)
    make_run("outputs/other", VALUES, seed=1)
    sweep = tmp_path / "outputs" / "sweeps" / "stamp"
    sweep.mkdir(parents=True)
    rows = [
        {"label": "a", "path": "outputs/one"},
        {"label": "b", "path": None},
        {"label": "c", "path": "gone"},
    ]
    (sweep / "runs.json").write_text(json.dumps({"format": 1, "runs": rows}))
    assert [path.resolve() for path in run_directories([sweep], "runs")] == [kept.resolve()]
