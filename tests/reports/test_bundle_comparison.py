"""What is said of bundles: lines, JSON and the page hold the same."""

from __future__ import annotations

import json
from pathlib import Path

from coldstart_cli.comparison.bundles import compare_bundles
from coldstart_cli.reports.bundle_comparison import as_json, lines, report_of, sentences
from coldstart_cli.reports.html.held_out import render
from tests.kit.cards import write_card


def test_lines_json_and_page_say_the_same(tmp_path: Path) -> None:
    good, same, poor = [1.0] * 18 + [0.0] * 2, [0.0] + [1.0] * 17 + [0.0] * 2, [1.0] * 6 + [0.0] * 14
    made = {"good": good, "<b>same</b>": same, "poor": poor}
    found = compare_bundles([write_card(tmp_path / name.replace("/", "|"), s) for name, s in made.items()])
    told = sentences(found)
    assert told[0].startswith("good is better than poor by 60 points [31.9, 77.2] (95 %), p = 0.0015")
    assert told[1] == "20 held-out rows cannot tell <b>same<|b> from good, which is right most often"
    printed = lines(found)
    assert printed[1].split()[:4] == ["*", "good", "90.0", "[80.0,"] and printed[2].startswith("= <b>")
    assert printed[3].startswith("  poor") and all(sentence in printed for sentence in told)
    values = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert [one["place"] for one in values["bundles"]] == ["winner", "tied", "behind"]
    assert values["pairs"][1]["difference"] == 0.6 and values["sentences"] == told
    html = render(report_of(found))
    assert "good is better than poor by 60 points" in html and "<b>same" not in html
    assert report_of(found).tables[1].rows[1][:3] == ["good", "poor", "+60"]


def test_of_errors_nothing_is_in_percent(tmp_path: Path) -> None:
    measured = {"metric": "mse", "mean": 0.2, "low": None, "high": None, "folds": 2, "repeats": 1}
    made = {"one": [0.1] * 9, "two": [0.4] * 9}
    paths = [write_card(tmp_path / name, s, cross_validation=measured) for name, s in made.items()]
    found = compare_bundles(paths)
    (told,) = sentences(found)
    assert told.startswith("one is better than two by 0.3 [0.3, 0.3] (95 %), p = 0.0039")
    assert report_of(found).percent is False and "%" not in "".join(lines(found)[:3])
