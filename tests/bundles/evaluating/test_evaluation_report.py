"""The page of an evaluation says what the evaluation holds, in the same numbers."""

from __future__ import annotations

from dataclasses import replace

from coldstart_cli.bundles.evaluating.evaluation import Estimate, Guarantee, OfReals
from coldstart_cli.bundles.evaluating.evaluation_report import MOST_ROWS, WIDE, report_of
from coldstart_cli.reports.html.evaluated import render
from tests.kit.evaluations import WHOLE, found


def test_every_number_is_that_of_the_evaluation() -> None:
    page = report_of(found(2, Guarantee(precision=0.7, sure=0.95, found=WHOLE)), "coldstart evaluate x")
    assert page.title == "my b on t.csv" and page.notes == ["note this"]
    assert page.sentences[0].startswith("accuracy 75.0 %, 95 % interval [20.0, 99.0]; always the most")
    assert page.sentences[1].startswith("precision 70 %: threshold=0.5 keeps it")
    assert page.sentences[2].startswith("labels that look wrong: 1")
    assert [command for command, _ in page.commands][1] == "coldstart evaluate x"
    assert page.scores.rows[3][:2] == ["accuracy of always the most frequent label, %", "50.0"]
    of = page.of_classes
    assert of is not None and of.allowed is not None
    assert of.confusion == [(0, 0, 3), (1, 0, 1)] and round(of.allowed, 9) == 0.3
    assert of.confused is not None and of.confused.rows == [["c1", "c0", "1"]]
    assert [one.name for one in of.reliable] == ["at temperature 2", "at temperature 1"]
    assert of.reliable[0].bins == [(1, 0.6, 0.0), (3, 0.9, 1.0)]
    assert [(one.share, one.risk, one.name) for one in of.kept] == [
        (1.0, 0.25, ""), (0.5, 0.0, ""), (1.0, 0.25, "the bundle's threshold"),
        (1.0, 0.25, "threshold for precision 70 %"),
    ]  # fmt: skip
    assert (of.kept[1].low, of.kept[1].high) == (0.0, 0.6) and of.kept[3].low is None
    assert of.wrong is not None and of.suspicious is not None
    assert of.suspicious.rows == [["t.csv row 2", "-1\x1b[31m", "c1", "0.100", "c0", "0.900"]]
    assert "\x1b" not in render(page) and of.classes.sortable


def test_what_the_page_leaves_out_is_said() -> None:
    one = found(2)
    assert one.classes is not None
    (doubt,) = one.classes.doubts
    long = replace(doubt, columns={"a": 1, "b": "x" * 999})
    many = replace(one, classes=replace(one.classes, doubts=[long] * (MOST_ROWS + 2)))
    page = report_of(many, "")
    assert page.of_classes is not None and page.of_classes.wrong is not None
    assert len(page.of_classes.wrong.rows) == MOST_ROWS
    assert (
        f"the page has the {MOST_ROWS:,} wrong answers that are most sure of {MOST_ROWS + 2:,}"
        in page.notes[-1]
    )
    told = page.of_classes.wrong.rows[0][1]
    assert told.startswith("a: 1; b: xxx") and len(told) == WIDE + 3


def test_a_regression_has_its_metrics() -> None:
    known = Estimate(value=1.0, low=0.5, high=2.0)
    reals = OfReals(mse=known, rmse=known, mae=known, r2=Estimate(value=None, low=None, high=1.0))
    page = report_of(replace(found(2), classes=None, reals=reals), "")
    assert page.of_classes is None and page.sentences == ["MSE 1, interval [0.5, 2]"]
    assert page.scores.rows[0] == ["MSE", "1", "[0.5, 2]"]
