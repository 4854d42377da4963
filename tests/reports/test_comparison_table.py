"""A comparison in a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from coldstart_cli.comparison.findings import Comparison
from coldstart_cli.metrics.numbers import MeanInterval
from coldstart_cli.reports import comparison_table
from tests.kit.comparisons import HOSTILE, comparison, typed
from tests.kit.verdicts import at_k, contestant, costs, pair, setting, standing


def shown(made: Comparison, width: int = 200) -> list[str]:
    stream = io.StringIO()
    comparison_table.show(made, Console(file=stream, width=width, highlight=False, emoji=False))
    return [" ".join(line.split()) for line in stream.getvalue().splitlines()]


def of_one(*args: object, **changes: object) -> Comparison:
    made = setting(*args, **changes)  # type: ignore[arg-type]
    return replace(
        typed(comparison(0, settings=0)), sentences=["a wins"], notes=["one seed"], settings=[made]
    )


def test_table_says_verdict_results_costs_and_caveats() -> None:
    at = at_k({"a": 0.9, "b": 0.8}, [pair("a", "b", 0.1, "win")], ["a"])
    at = replace(at, results={
        "a": standing(0.9, gain=MeanInterval(0.1, 0.02)), "b": standing(0.8, rank=2),
    })  # fmt: skip
    quick = contestant("a", costs(2.0, k1=4.0, k5=12.5), transductive=True)
    lines = shown(of_one({5: at}, quick, contestant("b", baseline=True)))
    assert lines[1] == "A wins." and lines[-1] == "One seed."
    assert "toy, 5-way: accuracy, % on 600 new tasks, 95 % intervals, rank" in lines
    assert "a (transductive) 90.0 ± 1.0 1* 2" in lines and "b 80.0 ± 1.0 2 2" in lines
    assert "gain at k = 5 adapt ms p95 ms parameters train s" in lines
    assert "a +10.0 ± 2.0 12.5 2.00 1 k -" in lines and "b - - - - -" in lines


def test_table_has_other_metrics_in_their_units() -> None:
    metrics = {"macro_f1": MeanInterval(0.5, 0.01), "loss": MeanInterval(1.5, 0.25)}
    rows = {"a": standing(0.9, metrics=metrics), "b": standing(0.8)}
    at = replace(at_k({}, [], ["a"]), results=rows)
    lines = shown(of_one({1: at}, contestant("a"), contestant("b"), units={"accuracy": "%", "macro_f1": "%"}))
    assert "macro F1, %, k = 1 loss, k = 1" in lines
    assert "a 50.0 ± 1.0 1.500 ± 0.250" in lines and "b - -" in lines


def test_table_shows_what_is_not_at_a_k_and_what_diverged() -> None:
    shots = {1: at_k({"a": 0.9, "b": 0.8}, [], ["a"]),
             5: replace(at_k({}, [], []), results={"a": standing(None)})}  # fmt: skip
    lines = shown(of_one(shots))
    assert "a 90.0 ± 1.0 1* diverged 1 2" in lines and "b 80.0 ± 1.0 1 - 2" in lines


def test_a_similarity_stands_beside_its_worth_or_not_at_all() -> None:
    known, unknown = typed(comparison(3)), typed(comparison(3, gaps=True))
    text = " ".join(shown(known))
    assert "rank correlation with the real gain +0.37 over 40 pairs" in text
    assert "taking the most similar group loses 2.8 points" in text
    assert "rank correlation" not in " ".join(shown(unknown))


@pytest.mark.parametrize(
    "made", [{"n": 0, "settings": 0}, {"n": 1}, {"n": 7, "gaps": True, "regression": True}]
)
def test_table_of_any_comparison_is_printed(made: dict[str, int]) -> None:
    text = " ".join(shown(typed(comparison(**made))))  # type: ignore[arg-type]
    assert "None" not in text and "nan" not in text


def test_table_prints_names_as_text() -> None:
    text = "\n".join(shown(typed(comparison(len(HOSTILE), names=HOSTILE)), 400))
    assert "[red]x[/red]" in text and "\x1b" not in text


def test_differences_are_a_line_for_each_key() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100, highlight=False)
    comparison_table.show_difference(["a", "b"], {"strategy.lr": [0.1, "[red]"]}, console)
    comparison_table.show_difference(["a", "b"], {}, console)
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert lines[:2] == ["a b", "strategy.lr 0.1 [red]"] and lines[2].startswith("no difference")
