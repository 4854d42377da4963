"""`--for`: a winner for one need, or the command that would tell."""

from __future__ import annotations

from typing import Any

import pytest

from coldstart_cli.comparison.best_for import answer, parse
from coldstart_cli.comparison.findings import Comparison, RunFacts
from coldstart_cli.errors import RequestError
from coldstart_cli.metrics.significance import Verdict
from tests.kit.verdicts import at_k, contestant, costs, pair, setting


def comparison(verdicts: dict[tuple[str, str], Verdict], **more: Any) -> Comparison:
    """a (.90, 2 ms), b (.89, 8 ms), c (.80, 1 ms), d: a baseline without costs (.5)."""
    means = {"a": 0.9, "b": 0.89, "c": 0.8, "d": 0.5}
    names = list(means)
    pairs = [
        pair(x, y, means[x] - means[y], verdicts.get((x, y), "win"), **more)
        for i, x in enumerate(names)
        for y in names[i + 1 :]
    ]
    times = {"a": 2.0, "b": 8.0, "c": 1.0}
    contestants = [contestant(name, costs(p95, k5=10.0)) for name, p95 in times.items()]
    made = setting({5: at_k(means, pairs)}, *contestants, contestant("d", baseline=True))
    typed = ["coldstart", "train", "-m", "strategy=a,b", "dataset=toy", "evaluation.k_shots=[5]", "seed=0,1"]
    runs = [
        RunFacts(path=f"outputs/{name}", contestant=name, seed=0, config="", differs={},
                 environment={"command_line": typed}, state={})
        for name in times
    ]  # fmt: skip
    return Comparison(
        format=1, confidence=0.95, sentences=[], left_out=[], notes=[], settings=[made], runs=runs
    )


def test_the_winner_keeps_all_limits() -> None:
    assert answer(comparison({}), "k=5") == ["for k = 5: a, 1.0 ± 0.8 points over b"]
    first, *rest = answer(comparison({}), "k=5,p95_ms=1.5")
    assert first == "for k = 5, p95_ms <= 1.5: c (the only one)"
    assert rest == ["over the limit: a, b", "cost not measured: d"]


def test_a_tie_names_the_quicker_one() -> None:
    (line,) = answer(comparison({("a", "b"): "tie"}), "k=5")
    assert line == "for k = 5: a, b tie: take any of them; a answers quickest (2.00 ms p95 at batch 1)"


def test_what_cannot_be_told_comes_with_a_command() -> None:
    lines = answer(comparison({("a", "b"): "undecided"}, seeds_needed=5), "k=5")
    assert lines[0] == "for k = 5: the data cannot tell a from b (1.0 ± 0.8 points to b)"
    assert lines[1] == (
        "to find out: coldstart train -m strategy=a,b dataset=toy 'evaluation.k_shots=[5]' seed=2,3,4"
    )


def test_nobody_who_keeps_the_limits_is_said() -> None:
    (line,) = answer(comparison({}), "k=5,parameters=10")
    assert line.startswith("for k = 5, parameters <= 10: none of 4 contestants; over the limit: a, b, c")


@pytest.mark.parametrize(
    ("text", "what"),
    [("p95_ms=3", "how many labels"), ("k=x", "is not a number"), ("k", "to ask for"),
     ("k=5,p95=3", "p95_ms"), ("k=2.5", "whole"), ("k=-1", "from 0 on"), ("k=5,p95_ms=nan", "finite"),
     ("", "to ask for"), ("k=3", r"k=3 was not evaluated; choose among k = 5")],
)  # fmt: skip
def test_a_need_that_is_none_is_refused_in_one_line(text: str, what: str) -> None:
    with pytest.raises(RequestError, match=what) as caught:
        answer(comparison({}), text)
    assert str(caught.value).startswith("--for: ") and "\n" not in str(caught.value)


def test_parse_reads_k_and_limits() -> None:
    assert parse("k=5, p95_ms=10,flops=1e6") == (5, {"p95_ms": 10.0, "flops": 1e6})


def test_who_breaks_a_limit_beats_nobody() -> None:
    made = comparison({("a", "c"): "win", ("b", "c"): "undecided"})
    assert answer(made, "k=5,p95_ms=1.5")[0] == "for k = 5, p95_ms <= 1.5: c (the only one)"


def test_more_tasks_are_advised_where_no_number_of_seeds_would_tell() -> None:
    lines = answer(comparison({("a", "b"): "undecided"}, tasks_needed=900), "k=5")
    assert (
        lines[1] == "more tasks would tell: about 900 (evaluation.n_tasks=900), by coldstart evaluate run=DIR"
    )
    assert lines[2].endswith("seed=2,3")
