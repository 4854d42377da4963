"""Requests of the command line and of Python: what a run must be to be evaluated, and what is given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.requests import changed_config, check_finished, left_as_found
from coldstart_cli.runs.run import Run


@pytest.fixture
def run(sines: dict[str, Any], tmp_path: Path) -> Run:
    run = Run(tmp_path / "outputs" / "run")
    run.path.mkdir(parents=True)
    run.create(sines, {})
    return run


def test_a_run_is_evaluated_once_its_training_has_ended(run: Run) -> None:
    with pytest.raises(RequestError, match=r"is not finished; repeat its coldstart train command first$"):
        changed_config(run, [], [])
    run.mark("finished", steps=2)
    check_finished(run)


def test_what_does_not_belong_to_the_training_is_changed(run: Run, sines: dict[str, Any]) -> None:
    run.mark("finished", steps=2)
    found = changed_config(run, ["evaluation.k_shots=[3]"], [])
    assert found["evaluation"]["k_shots"] == [3] and found["strategy"] == sines["strategy"]
    assert found["outputs"] == str(run.path.parent)  # where it lies now, not where it was made
    with pytest.raises(RequestError, match=r"^seed: belongs to the training of this run"):
        changed_config(run, ["seed=1"], [])


def test_a_caller_gets_its_settings_back(torch_settings: None) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with left_as_found():
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
