"""What the charts draw: by position, rounded, and nothing that JSON does not know."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from coldstart_cli.reports.html.chart_data import best_first, costs, drawn, visible
from tests.kit.comparisons import comparison, typed, typed_setting
from tests.kit.verdicts import at_k, pair
from tests.kit.verdicts import setting as made_of


def setting(n: int = 3, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = comparison(n, **changes)["settings"][0]
    return made


def test_costs_without_a_value_are_no_choice() -> None:
    made = setting(3)
    assert [cost.name for cost in costs(typed_setting(made))][:3] == [
        "answer, batch 1",
        "answer, batch 64",
        "adapt",
    ]
    for contestant in made["contestants"]:
        contestant["costs"], contestant["training"] = None, None
    assert costs(typed_setting(made)) == []


def test_colours_go_to_winners_at_any_k_first() -> None:
    made = setting(20, ks=(1, 5, 20))
    late = made["contestants"][-1]["name"]
    made["shots"]["20"]["results"][late]["rank"] = 1
    order = best_first(typed_setting(made))
    assert sorted(order) == list(range(20))
    assert order.index(19) < 3
    baselines = [i for i, contestant in enumerate(made["contestants"]) if contestant["baseline"]]
    assert min(order.index(i) for i in baselines) < 8


def test_visible_escapes_what_is_not_seen() -> None:
    assert visible({"a\x1b": ["b\u202e", 1, None, ("c\ud800\n",)]}) == {
        r"a\x1b": [r"b\u202e", 1, None, ("c\\ud800\n",)]
    }
    assert visible("Ünïcode 漢字 👩‍🔬") == "Ünïcode 漢字 👩‍🔬"


def test_visible_reaches_into_dataclasses_and_drops_what_json_does_not_know() -> None:
    made = typed(comparison(2))
    run = replace(made.runs[0], path="a\x1b", differs={"strategy.lr": math.inf})
    shown = visible(replace(made, runs=[run]))
    assert shown.runs[0].path == r"a\x1b" and shown.runs[0].differs == {"strategy.lr": None}
    assert made.runs[0].differs != shown.runs[0].differs and shown.settings == made.settings


def test_drawn_has_contestants_by_position() -> None:
    at = at_k({"b": 0.9, "a": 1 / 3}, [pair("b", "a", 0.1, "win")], ["b"])
    made = replace(typed(comparison(2)), settings=[made_of({5: at})])
    (found,) = drawn(made)["settings"]
    assert found["ks"] == ["5"] and [c["name"] for c in found["contestants"]] == ["b", "a"]
    (shot,) = found["shots"]
    assert shot["winners"] == [0] and shot["pairs"] == [[0, 1, 0.1, 0.008, 0.01, 0.02, 0.01, "win"]]
    assert [row["mean"] for row in shot["results"]] == [0.9, 0.333333] and shot["results"][0]["steps"] == [1]


def test_drawn_is_json_whatever_is_not_known() -> None:
    made = visible(typed(comparison(6, gaps=True)))
    json.dumps(drawn(made), allow_nan=False)
