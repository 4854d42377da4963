"""The tables behind the charts: formulas of a row, and dashes where nothing is known."""

from __future__ import annotations

from typing import Any

from coldstart_cli.comparison.verdict import starred
from coldstart_cli.reports.html import tables
from tests.kit.comparisons import comparison, typed_setting


def setting(n: int = 3, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = comparison(n, **changes)["settings"][0]
    return made


def column(table: tables.Table, name: str) -> list[str]:
    return [row[table.head.index(name)] for row in table.rows]


def test_results_bring_out_the_best_and_name_the_tasks() -> None:
    made = setting(3, ks=(1, 5))
    for at in made["shots"].values():
        at["results"][at["winners"][0]]["gain"] = {"mean": 0.2, "half_width": 0.01}
    of = typed_setting(made)
    table = tables.results(of)
    for k, at in of.shots.items():
        column = table.head.index(f"k = {k}")
        marked = [table.rows[row][0] for row, col in table.strong if col == column]
        assert marked and sorted(marked) == sorted(starred(of, at))
    assert table.rows[-1][1] == f"30 ({made['shots']['1']['bank'][:8]})"


def test_times_of_a_column_have_as_many_decimals() -> None:
    made = setting(3, ks=(1, 5))
    for one, ms in zip(made["contestants"], (0.5, 12.0, 150.0), strict=True):
        one["costs"]["inference"]["1"] = {"p50_ms": ms, "p95_ms": ms}
    table = tables.costs(typed_setting(made))
    assert column(table, "batch 1, p50, ms") == ["0.50", "12.00", "150.00"]


def test_transfer_shows_gain_and_label_efficiency() -> None:
    made = setting(2, ks=(1, 5))
    name = made["contestants"][0]["name"]
    made["shots"]["1"]["results"][name]["gain"] = {"mean": 0.05, "half_width": 0.01}
    made["contestants"][0]["over_shots"]["label_efficiency"] = {"1": 5.2, "5": None}
    table = tables.transfer(typed_setting(made))
    rows = [row for row in table.rows if row[1] == name]
    assert rows[0][table.head.index("gain over scratch")] == "+5.0 ± 1.0"
    assert [row[table.head.index("shots scratch needs")] for row in rows] == ["5.2", "–"]


def test_calibration_is_left_out_where_nobody_measured_it() -> None:
    made = setting(2)
    assert tables.calibrations(typed_setting(made)) is not None
    for shot in made["shots"].values():
        for row in shot["results"].values():
            row["calibration"] = dict.fromkeys(row["calibration"])
    assert tables.calibrations(typed_setting(made)) is None
    assert tables.calibrations(typed_setting(setting(3, regression=True, gaps=True))) is None


def test_costs_name_hardware_where_it_differs() -> None:
    made = setting(3)
    assert "hardware" not in tables.costs(typed_setting(made)).head
    assert tables.hardware(typed_setting(made)) == "cpu: AMD EPYC, 2 threads"
    made["contestants"][0]["hardware"] = {
        "device": "cuda",
        "name": "H100",
        "threads": 1,
        "precision": "fp32",
        "deterministic": True,
    }
    table = tables.costs(typed_setting(made))
    assert column(table, "hardware")[0] == "cuda: H100, 1 thread"
    assert "different hardware" in tables.hardware(typed_setting(made))


def test_pairs_say_what_would_decide() -> None:
    made = setting(2, ks=(1,))
    made["shots"]["1"]["pairs"][0] |= {"seeds_needed": 7, "tasks_needed": 1200, "p": 1e-7, "p_holm": None}
    table = tables.pairs(typed_setting(made))
    assert column(table, "needed to decide") == ["7 seeds or 1,200 tasks"]
    assert column(table, "p") == ["< 0.0001"]
    assert column(table, "p, Holm") == ["–"]


def test_budgets_say_which_limits_were_kept() -> None:
    made = setting(2)
    made["contestants"][0]["budgets"] = {
        "p95_ms": {"limit": 5.0, "measured": 0.5, "kept": True},
        "parameters": {"limit": 1000, "measured": 112000, "kept": False},
    }
    made["contestants"][1]["budgets"] = {}
    said = column(tables.budgets(typed_setting(made), ""), "limits: measured of allowed")
    assert said == ["p95_ms 0.5 of 5: kept; parameters 112,000 of 1,000: exceeded", "–"]


def test_numbers_are_typeset_and_names_are_not() -> None:
    table = tables.Table.of_numbers(
        "", ["a-b", "n", "m"], [["x-y", "-2.5", "-"], ["-", "+3.1 ± ?", "1e-05"]], (0,)
    )
    assert table.rows == [["x-y", "−2.5", "–"], ["–", "+3.1 ± ?", "1e−05"]]
