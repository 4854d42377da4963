"""The report of held-out labels as text; how it is drawn is tried in a browser by test_in_browser.py."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from coldstart_cli.reports.html.held_out import render
from tests.kit.choices import report
from tests.kit.comparisons import HOSTILE


def drawn(html: str) -> dict[str, object]:
    found = re.search(r'id="data">(.*?)</script>', html)
    assert found is not None
    data: dict[str, object] = json.loads(found[1])["settings"][0]
    return data


def test_it_leads_with_the_verdict_and_ends_with_what_to_type() -> None:
    html = render(report(["ridge", "names"]))
    told = ("ridge by the rule.", "3 of 9 repeat.", "Left out: 1 candidate", "it takes 3 minutes",
            "Candidates",
            "What more labels would bring", "coldstart choose dataset.root=&#39;a b.csv&#39;")  # fmt: skip
    places = [html.index(part) for part in told]
    assert places == sorted(places)
    assert html == render(report(["ridge", "names"]))
    assert "What more labels would bring" not in render(report(["ridge", "names"], with_more=False))


def test_what_is_drawn_is_what_is_told() -> None:
    data = drawn(render(report(["ridge", "names"])))
    assert data["lines"] == [
        {"name": "ridge", "place": "winner", "value": 0.8, "low": 0.6, "high": 0.9},
        {"name": "names", "place": "behind", "value": None, "low": None, "high": None},
    ]
    assert data["more"] == {
        "known": [
            {"k": 1, "value": 0.4, "low": None, "high": None},
            {"k": 4, "value": 0.7, "low": None, "high": None},
        ],
        "foretold": [
            {"k": 5, "value": 0.8, "low": 0.8, "high": 0.8},
            {"k": 10, "value": 0.85, "low": 0.75, "high": 0.95},
        ],
    }  # fmt: skip


def test_names_of_others_are_text() -> None:
    html = render(replace(report(list(HOSTILE)), title="<script>alert(1)</script>"))
    assert html.count("<script") == 2 and "<script>alert" not in html
