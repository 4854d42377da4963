"""Rows of the table: as JSON has them, and back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from coldstart_cli.files.durable import finite
from coldstart_cli.metrics.records import Score, labelled, record_of, score_of
from tests.kit.summaries import believed, record


def stored(repository: Path) -> list[Path]:
    """The records of runs that earlier versions wrote."""
    found = sorted((repository / "tests" / "data").rglob("records.jsonl"))
    assert len(found) > 3
    return found


def test_records_of_earlier_versions_are_written_as_they_were(repository: Path) -> None:
    for path in stored(repository):
        for line in path.read_text().splitlines():
            assert json.dumps(record_of(json.loads(line)).row()) == line


def test_record_has_columns_for_what_there_is_alone() -> None:
    bare = record("strategy", "new", 1, "a", 0, 0.5)
    assert bare.row().keys().isdisjoint({"beside", "metrics", "notes", "brier", "confidence_bins"})
    full = record(
        "strategy", "new", 1, "a", 0, 0.5,
        metrics={"macro_f1": 0.25}, notes={"distance": 1.0}, believed=believed([[1, 2, 0.1, 0]]),
    )  # fmt: skip
    row = json.loads(json.dumps(full.row()))
    assert row["metrics"] == {"macro_f1": 0.25}
    assert (row["brier"], row["confidence_bins"]) == (0.5, [[1, 2, 0.1, 0]])
    assert record_of(row) == full


def test_record_reads_null_as_what_is_not_finite() -> None:
    diverged = record(
        "strategy", "new", 1, "a", 0, math.inf, loss=math.nan, metrics={"macro_f1": math.nan},
        believed=believed(None, brier=math.nan),
    )  # fmt: skip
    row = json.loads(json.dumps(finite(diverged.row())))
    assert row["value"] is row["loss"] is row["brier"] is row["metrics"]["macro_f1"] is None
    back = record_of(row)
    assert back.believed is not None
    assert back.believed.confidence_bins is None
    numbers = (back.value, back.loss, back.metrics["macro_f1"], back.believed.brier)
    assert all(math.isnan(number) for number in numbers)


def test_record_without_a_column_names_it() -> None:
    row = record("strategy", "new", 1, "a", 0, 0.5).row()
    del row["task_hash"]
    with pytest.raises(KeyError, match="task_hash"):
        record_of(row)


@pytest.mark.parametrize(("beside", "role"), [(None, "baseline"), ("teacher", "teacher")])
def test_score_is_labelled_by_its_own_role_where_it_has_one(beside: str | None, role: str) -> None:
    score = Score(
        task="a", task_hash="h", step=1, value=0.5, loss=1.0, adapt_seconds=0.1, beside=beside, metrics={},
        notes={},
    )  # fmt: skip
    assert score_of(json.loads(json.dumps(score.row()))) == score
    found = labelled(score, role="baseline", variant="lr=1", split="new", k_shot=5)
    assert (found.role, found.variant, found.split, found.k_shot) == (role, "lr=1", "new", 5)
    assert "beside" not in found.row()
    assert list(found.row())[:7] == ["role", "variant", "split", "k_shot", "task", "task_hash", "step"]
