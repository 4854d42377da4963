"""Verdicts of `choose` and reports of held-out labels made from values alone."""

from __future__ import annotations

from typing import Literal

from coldstart_cli.choosing.choosing import Row, Verdict
from coldstart_cli.choosing.learning_curve import MoreLabels, Point
from coldstart_cli.metrics.extrapolation import Gain
from coldstart_cli.reports.html.held_out import AtLabels, HeldOutReport, Line, More
from coldstart_cli.reports.html.tables import Table

Place = Literal["winner", "tied", "behind"]


def row(name: str, place: Place, value: float | None) -> Row:
    spread = (None, None) if value is None else (value - 0.2, value + 0.15)
    return Row(
        name=name, strategy="s", model="m", value=value, low=spread[0], high=spread[1],
        balanced_accuracy=0.75, seconds=0.25, p95_ms=1.5, mb=0.02, place=place,
    )  # fmt: skip


def more() -> MoreLabels:
    return MoreLabels(
        of="a", points=(Point(2, 0.6), Point(6, 0.7)), gains=(Gain(15, 0.04, 0.01, 0.08),),
        needed={"0.9": 22.0}, confidence=0.9,
    )  # fmt: skip


def verdict() -> Verdict:
    return Verdict(
        metric="accuracy",
        rows=(row("b", "winner", 0.8), row("a", "tied", 0.82), row("c", "behind", 0.5)),
        left_out={"d": "it is too slow"}, labels=20, classes=2, winner="b", adapt=("strategy=b",),
        favourite="b",
        favoured="two classes", by="rule", p=None, luck=0.0, folds=8, repeats=2, more=more(), seconds=12.0,
        time_minutes=10.0,
    )  # fmt: skip


def report(names: list[str], *, percent: bool = True, with_more: bool = True) -> HeldOutReport:
    """Of predictors with these names, the last of which has no value."""
    lines = [
        Line(name, "tied" if i else "winner", 0.8 - i / 50, 0.6 - i / 50, 0.9) for i, name in enumerate(names)
    ]
    lines[-1] = Line(names[-1], "behind", None, None, None)
    rows = [[line.name, "80.0"] for line in lines]
    known = [AtLabels(1, 0.4, None, None), AtLabels(4, 0.7, None, None)]
    foretold = [AtLabels(5, 0.8, 0.8, 0.8), AtLabels(10, 0.85, 0.75, 0.95)]
    curve = Table("More labels", ["labels a class", "accuracy, %"], [["1.0", "40.0"]], (0,))
    return HeldOutReport(
        kind="choice", title="rows.csv", sentences=[f"{names[0]} by the rule"], notes=["3 of 9 repeat"],
        left_out=[("slow", "it takes 3 minutes")], of_which="candidate", facts="accuracy on 9 labels",
        hint="★ is the one taken", metric="accuracy" if percent else "mse", percent=percent, higher=percent,
        confidence=0.95, lines=lines, tables=[Table("Candidates", ["candidate", "accuracy, %"], rows, (0,))],
        more=More(names[0], known, foretold, 0.9, curve) if with_more else None,
        commands=[("coldstart choose dataset.root='a b.csv'", "the same again")],
        written_by="coldstart choose",
    )  # fmt: skip
