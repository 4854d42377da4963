"""What is audited: the tasks that a run draws, each shape once, and why some are left out."""

from __future__ import annotations

from typing import Any

import pytest

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.data_check import MOST_EXAMPLES, N_TASKS, _enough, audited


def test_the_audit_names_what_a_run_draws(sines: dict[str, Any]) -> None:
    found = audited(sines, n_tasks=2, show_read=False)
    assert (found.name, found.n_leaks, found.unreadable) == ("sinusoid", 0, [])
    assert found.settings == sines["dataset"] and found.fingerprint
    splits = {row.split for row in found.bank}
    assert {"train", "validation", "new"} <= splits


def test_a_config_that_training_would_refuse_is_refused(sines: dict[str, Any]) -> None:
    sines["dataset"]["n_query"] = 0
    with pytest.raises(RequestError, match=r"^dataset\.n_query: 0 is out of range"):
        audited(sines, n_tasks=2, show_read=False)


def test_fewer_tasks_are_drawn_where_they_are_large() -> None:
    assert _enough(TaskShape(5, 1, 15, 0)) == N_TASKS
    assert _enough(TaskShape(1000, 10, 10, 0)) == MOST_EXAMPLES // 20_000
