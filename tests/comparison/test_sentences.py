"""The verdict in words."""

from __future__ import annotations

import pytest

from coldstart_cli.comparison.sentences import cheapest, sentences
from tests.kit.verdicts import at_k, contestant, costs, pair, setting

WIN = at_k({"a": 0.9, "b": 0.8}, [pair("a", "b", 0.031, "win")], ["a"])
TIE = at_k({"a": 0.9, "b": 0.9}, [pair("b", "a", 0.001, "tie")], ["a", "b"])
OPEN = at_k({"a": 0.9, "b": 0.89}, [pair("a", "b", 0.01, "undecided")], ["a", "b"])


def test_stretches_of_k_with_one_winner_are_one_sentence() -> None:
    assert sentences(setting({1: WIN, 5: WIN, 10: TIE, 20: TIE})) == [
        "at k <= 5 a wins by 3.1 ± 0.8 points at k = 1 over b, the next",
        "from k = 10 a and b tie (within 0.5 points)",
    ]


def test_what_the_data_cannot_tell_is_said() -> None:
    (sentence,) = sentences(setting({5: OPEN}))
    assert sentence == (
        "at k = 5 a has the best mean, but the data cannot tell it from b (1.0 ± 0.8 points to b)"
    )


def test_what_ties_is_named_beside_what_cannot_be_told() -> None:
    pairs = [pair("a", "b", 0.01, "undecided"), pair("a", "c", 0.0, "tie"), pair("b", "c", 0.0, "tie")]
    at = at_k({"a": 0.9, "b": 0.89, "c": 0.9}, pairs, ["a", "c", "b"])
    assert sentences(setting({5: at}))[0].endswith("(1.0 ± 0.8 points to b); c ties with it")


@pytest.mark.parametrize(
    ("ks", "where"),
    [("1", "at k = 1"), ("1 2", "at k <= 2"), ("2", "at k = 2"), ("2 5", "at k = 2 to 5"),
     ("10", "at k = 10"), ("5 10", "from k = 5"), ("1 2 5 10", "at every k")],
)  # fmt: skip
def test_sentences_say_where(ks: str, where: str) -> None:
    shots = {k: (WIN if str(k) in ks.split() else TIE) for k in (1, 2, 5, 10)}
    assert any(s.startswith(f"{where} a wins") for s in sentences(setting(shots)))


def test_every_k_is_said_only_where_all_were_run_at_every_k() -> None:
    alone = at_k({"a": 0.9}, [], ["a"])
    said = sentences(setting({1: WIN, 2: WIN, 5: alone}))
    assert said[0].startswith("at k = 1 and 2 a wins") and "every" not in " ".join(said)


def test_one_contestant_and_no_shared_task_are_said() -> None:
    alone = at_k({"a": 0.9}, [], ["a"])
    assert sentences(setting({1: alone})) == ["only a was run: nothing to compare it with"]
    assert "no two contestants share tasks" in sentences(setting({}))[0]


def test_of_equals_the_one_that_costs_half_is_named() -> None:
    dear, cheap = costs(p50_ms=1.0, k5=40.0), costs(p50_ms=0.9, k5=10.0)
    both = contestant("a", dear), contestant("b", cheap)
    assert cheapest(setting({5: TIE}, *both), 5) == "of these at k = 5, b is 4.0x faster to adapt than a"
    assert cheapest(setting({5: WIN}, *both), 5) is None
    assert cheapest(setting({5: TIE}), 5) is None
    assert cheapest(setting({5: TIE}, both[0], contestant("b")), 5) is None
