"""What the runs were, with what they share said once."""

from __future__ import annotations

from coldstart_cli.reports.html import run_tables
from coldstart_cli.reports.html.tables import Table
from tests.kit.comparisons import comparison, typed


def column(table: Table, name: str) -> list[str]:
    return [row[table.head.index(name)] for row in table.rows]


def test_shared_entries_are_said_once() -> None:
    common, rest = run_tables.shared([{"a": 1, "b": 2, "c": None}, {"a": 1, "b": 3}])
    assert (common, rest) == ({"a": 1}, [{"b": 2, "c": None}, {"b": 3}])


def test_runs_of_a_contestant_share_its_settings() -> None:
    contestants, runs = run_tables.settings(typed(comparison(2, seeds=2)))
    assert [row[0] for row in contestants.rows] == list(dict.fromkeys(row[1] for row in runs.rows))
    assert all("strategy.inner_lr: 0.1" in row[1] and "seed" not in row[1] for row in contestants.rows)
    assert column(runs, "settings of its own") == ["seed: 0", "seed: 1"] * 2
    assert column(runs, "command line")[0].startswith("coldstart train strategy=")


def test_environments_are_grouped() -> None:
    made = comparison(2, seeds=2)
    (table, groups) = run_tables.environments(typed(made))
    assert groups is None
    assert dict(table.rows)["packages.torch"] == "2.13.0"
    made["runs"][0]["environment"] = made["runs"][0]["environment"] | {"python": "3.13.0"}
    (table, groups) = run_tables.environments(typed(made))
    assert "python" not in dict(table.rows)
    assert groups is not None
    assert [row[:2] for row in groups.rows] == [["python: 3.13.0", "1"], ["python: 3.11.7", "3"]]
