"""An evaluation on disk, shown and judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.errors import JobError
from coldstart_cli.metrics.budgets import Budget
from coldstart_cli.reports import finished_run
from coldstart_cli.reports.finished_run import Show
from coldstart_cli.runs.run import Run

Make = Callable[..., Path]
NAME = "0123abcd"


def budget(**limits: Any) -> Budget:
    none = dict.fromkeys(("p50_ms", "p95_ms", "adaptation_ms", "parameters", "flops", "peak_memory_mib"))
    return Budget(**{**none, "enforce": False, **limits})


@pytest.fixture
def run(make_run: Make) -> Run:
    return Run(make_run("a", {1: {"t0": 0.5, "t1": 0.6}}))


@pytest.mark.parametrize(("show", "n_lines"), [("nothing", 0), ("path", 1)])
def test_as_much_is_shown_as_is_asked_for(
    run: Run, capsys: pytest.CaptureFixture[str], show: Show, n_lines: int
) -> None:
    told = finished_run.show(run, NAME, budget(), show=show)
    assert told.startswith("k=1 accuracy 50.0 ± 10.0")
    assert capsys.readouterr().out == f"{run.path}\n" * n_lines


def test_report_names_the_plots_that_are_there(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    finished_run.show(run, NAME, budget(), show="report")
    assert "Curves" not in capsys.readouterr().out
    (run.path / "plots").mkdir()
    (run.path / "plots" / "training.png").touch()
    finished_run.show(run, NAME, budget(), show="report")
    out = capsys.readouterr().out
    assert f"Curves: {run.path}/plots/ (training.png)" in out and f"coldstart evaluate run={run.path}" in out


def test_the_budget_of_now_judges_and_ends_the_job_where_it_is_enforced(run: Run) -> None:
    assert finished_run.show(run, NAME, budget(p95_ms=1.5), show="nothing").endswith("over budget: p95_ms")
    assert "budget" not in finished_run.show(run, NAME, budget(p95_ms=2.0, enforce=True), show="nothing")
    with pytest.raises(JobError, match=r"^evaluation\.budget\.p95_ms: 2 is above 1\.5; raise the limit"):
        finished_run.show(run, NAME, budget(p95_ms=1.5, enforce=True), show="nothing")
