"""A config from its first step to its table, and what is found the second time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
