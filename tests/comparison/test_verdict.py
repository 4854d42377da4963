"""From pairs to winners and sentences."""

from __future__ import annotations

from typing import Any

import pytest

from coldstart_cli.comparison.verdict import between, by_mean, cheapest, sentences, unbeaten


def pair(a: str, b: str, difference: float, verdict: str) -> dict[str, Any]:
    return {"a": a, "b": b, "difference": difference, "half_width": 0.008, "verdict": verdict}


def shot(means: dict[str, float], pairs: list[dict[str, Any]], winners: list[str]) -> dict[str, Any]:
    return {"results": {n: {"mean": m} for n, m in means.items()}, "pairs": pairs, "winners": winners,
            "zone": 0.005}  # fmt: skip


def setting(shots: dict[str, Any], **costs: dict[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys(n for row in shots.values() for n in row["results"])
    return {
        "shots": shots, "percent": True, "higher_is_better": True,
        "contestants": [{"name": n, "costs": costs.get(n)} for n in names],
    }  # fmt: skip


WIN = shot({"a": 0.9, "b": 0.8}, [pair("a", "b", 0.031, "win")], ["a"])
TIE = shot({"a": 0.9, "b": 0.9}, [pair("b", "a", 0.001, "tie")], ["a", "b"])
OPEN = shot({"a": 0.9, "b": 0.89}, [pair("a", "b", 0.01, "undecided")], ["a", "b"])


def test_runs_of_k_with_one_winner_are_one_sentence() -> None:
    assert sentences(setting({"1": WIN, "5": WIN, "10": TIE, "20": TIE})) == [
        "at k <= 5 a wins by 3.1 ± 0.8 points at k = 1 over b, the next",
        "from k = 10 a and b tie (within 0.5 points)",
    ]


def test_what_the_data_cannot_tell_is_said() -> None:
    (sentence,) = sentences(setting({"5": OPEN}))
    assert sentence == (
        "at k = 5 a has the best mean, but the data cannot tell it from b (1.0 ± 0.8 points to b)"
    )


@pytest.mark.parametrize(
    ("ks", "where"),
    [("1", "at k = 1"), ("1 2", "at k <= 2"), ("2", "at k = 2"), ("2 5", "at k = 2 to 5"),
     ("10", "at k = 10"), ("5 10", "from k = 5"), ("1 2 5 10", "at every k")],
)  # fmt: skip
def test_sentences_say_where(ks: str, where: str) -> None:
    shots = {k: (WIN if k in ks.split() else TIE) for k in ("1", "2", "5", "10")}
    assert any(s.startswith(f"{where} a wins") for s in sentences(setting(shots)))


def test_one_contestant_and_no_shared_task_are_said() -> None:
    alone = shot({"a": 0.9}, [], ["a"])
    assert sentences(setting({"1": alone})) == ["only a was run: nothing to compare it with"]
    assert "no two contestants share tasks" in sentences(setting({}))[0]


def test_of_equals_the_one_that_costs_half_is_named() -> None:
    costs = {
        "a": {"adaptation_ms": {"5": 40.0}, "inference": {"1": {"p50_ms": 1.0}}},
        "b": {"adaptation_ms": {"5": 10.0}, "inference": {"1": {"p50_ms": 0.9}}},
    }
    assert (
        cheapest(setting({"5": TIE}, **costs), "5") == "of these at k = 5, b is 4.0x faster to adapt than a"
    )
    assert cheapest(setting({"5": WIN}, **costs), "5") is None
    assert cheapest(setting({"5": TIE}), "5") is None


def test_a_pair_is_seen_from_either_side() -> None:
    seen = between([pair("a", "b", 0.03, "win")], "b", "a")
    assert (seen["difference"], seen["verdict"], seen["half_width"]) == (-0.03, "loss", 0.008)
    with pytest.raises(KeyError):
        between([], "a", "b")


def test_winners_are_those_that_nobody_beats_and_in_a_circle_the_first() -> None:
    assert unbeaten(["a", "b", "c"], {("a", "c")}) == ["a", "b"]
    assert unbeaten(["a", "b", "c"], {("b", "c"), ("a", "c")}) == ["a", "b"]
    assert unbeaten(["a", "b", "c"], {("a", "b"), ("b", "c"), ("c", "a")}) == ["a"]
    assert unbeaten(["a", "b"], {("z", "a")}) == ["a", "b"]  # who is not asked about beats nobody


def test_by_mean_puts_the_diverged_last() -> None:
    rows = {"a": {"mean": None}, "b": {"mean": 0.2}, "c": {"mean": 0.3}}
    assert by_mean(rows, True) == ["c", "b", "a"] and by_mean(rows, False) == ["b", "c", "a"]
