"""The page of an evaluation as text; how it is drawn is tried in a browser by test_in_browser.py."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from coldstart_cli.reports.html.evaluated import render
from tests.kit.comparisons import HOSTILE
from tests.kit.evaluations import report


def test_it_leads_with_the_verdict_and_draws_what_its_tables_hold() -> None:
    html = render(report(["a", "b", "c"]))
    assert html.index("Accuracy 66.7 %.") < html.index("Of c.") < html.index("<main>")
    told = ("<main>", "All rows", "Each class", "Confusion matrix", "Reliability",
            "Risk against coverage", "Wrong answers", "coldstart predict bundle=b")  # fmt: skip
    start = html.index("<main>")
    places = [html.index(part, start) for part in told]
    assert places == sorted(places) and html == render(report(["a", "b", "c"]))
    found = re.search(r'id="data">(.*?)</script>', html)
    assert found is not None
    (data,) = json.loads(found[1])["settings"]
    assert data["labels"] == ["a", "b", "c"] and [2, 0, 1] in data["confusion"]
    assert data["kept"][2]["risk"] is None and data["kept"][3]["name"] == "threshold for precision 90 %"


def test_names_of_others_are_text() -> None:
    html = render(report(HOSTILE))
    assert html.count("<script") == 2 and "<script>alert" not in html and "<img" not in html


def test_of_a_regression_there_are_scores_alone() -> None:
    html = render(replace(report(["a"]), of_classes=None))
    assert "All rows" in html and "data-chart=" not in html.partition("<script")[0]
