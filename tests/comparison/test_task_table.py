"""Every task's value, of every contestant and seed."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.comparison.comparison import compare
from coldstart_cli.comparison.results import read
from coldstart_cli.comparison.task_table import csv_of_tasks

Make = Callable[..., Path]


def test_means_of_the_table_are_those_of_the_comparison(tmp_path: Path, make_run: Make) -> None:
    values = {1: {f"t{i}": 0.5 + i / 100 for i in range(4)}, 5: {f"t{i}": 0.8 + i / 50 for i in range(4)}}
    for seed in (0, 1):
        shifted = {k: {task: value + seed / 10 for task, value in of.items()} for k, of in values.items()}
        make_run(f"maml{seed}", shifted, seed=seed, baseline=values)
    make_run("anil", values, strategy="=anil")
    results, left_out = read([tmp_path])
    found = compare(results, left_out)
    rows = list(csv.DictReader(io.StringIO(csv_of_tasks(results))))
    assert len(rows) == 2 * (2 * 4 + 2 * 4 + 4)
    for k, at in found.settings[0].shots.items():
        for name, standing in at.results.items():
            own = [r for r in rows if (r["k"], r["contestant"].lstrip("'")) == (str(k), name)]
            assert statistics.fmean(float(row["value"]) for row in own) == pytest.approx(standing.mean)
            assert {row["seed"] for row in own} == {str(s) for s in found.settings[0].contestant(name).seeds}
    assert {(row["task"], row["hash"]) for row in rows if row["k"] == "5"} == {
        (f"new/t{i}", f"t{i}-5") for i in range(4)
    }
    assert any(row["contestant"] == "'=anil" for row in rows)  # what a spreadsheet would run
