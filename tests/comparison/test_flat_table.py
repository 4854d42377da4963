"""The flat table: one row for each setting, k and contestant, all with the same columns."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from coldstart_cli.comparison.findings import Comparison
from coldstart_cli.comparison.flat_table import csv_of, rows
from coldstart_cli.metrics.numbers import MeanInterval
from tests.kit.comparisons import comparison, typed
from tests.kit.verdicts import at_k, contestant, costs, setting, standing


def made() -> Comparison:
    """a with costs and a metric of its own, b with neither; at k = 5 a alone."""
    f1 = {"macro_f1": MeanInterval(0.4, None)}
    both = replace(at_k({}, [], ["a"]), results={
        "a": standing(0.9, gain=MeanInterval(0.1, 0.02), metrics=f1), "b": standing(None, rank=2),
    })  # fmt: skip
    contestants = contestant("a", costs(2.0, p50_ms=1.0, k5=10.0)), contestant("b", baseline=True)
    one = setting({5: both, 20: at_k({"a": 0.95}, [], ["a"])}, *contestants)
    return replace(typed(comparison(0, settings=0)), settings=[one])


def test_every_row_has_the_same_columns() -> None:
    found = rows(made())
    assert [(row["k"], row["contestant"]) for row in found] == [(5, "a"), (5, "b"), (20, "a")]
    assert list(found[0]) == [
        "setting", "metric", "k", "contestant", "strategy", "model", "seeds", "tasks", "mean", "half_width",
        "rank", "winner", "gain", "gain_half_width", "adaptation_ms", "p50_ms", "p95_ms", "parameters",
        "bank", "macro_f1", "macro_f1_half_width",
    ]  # fmt: skip
    assert {tuple(row) for row in found} == {tuple(found[0])}


def test_costs_gains_and_metrics_are_those_of_the_row() -> None:
    first, second, third = rows(made())
    assert (first["gain"], first["p50_ms"], first["p95_ms"], first["adaptation_ms"]) == (0.1, 1.0, 2.0, 10.0)
    assert first["winner"] is True and first["macro_f1"] == 0.4 and first["macro_f1_half_width"] is None
    assert second["winner"] is False and second["parameters"] is second["gain"] is second["macro_f1"] is None
    assert third["adaptation_ms"] is None and third["parameters"] == 1000


def test_csv_leaves_empty_what_is_not_known() -> None:
    _, second, _ = csv.DictReader(io.StringIO(csv_of(made())))
    assert (second["mean"], second["p95_ms"], second["rank"]) == ("", "", "2")
    assert csv_of(typed(comparison(0, settings=0))) == ""
