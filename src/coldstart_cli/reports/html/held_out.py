"""Predictors judged by the held-out labels of one task, as one HTML file: what `choose` took, or bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from coldstart_cli.metrics.numbers import Numbers, percent
from coldstart_cli.reports.html.chart_data import COLOURS, visible
from coldstart_cli.reports.html.page import rendered, teller
from coldstart_cli.reports.html.tables import Table

Place = Literal["winner", "tied", "behind"]


@dataclass(frozen=True, slots=True)
class Line:
    """A predictor: the metric with its interval, and whether it is the best, tied with it, or behind."""

    name: str
    place: Place
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class AtLabels:
    """The metric after k labels of each class; the interval is None of what was measured."""

    k: float
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class More:
    """A learning curve over labels and what it foretells.

    Attributes:
        of: whose it is.
        foretold: the first is what there is.
        confidence: of its intervals.
        table: the same in numbers.
    """

    of: str
    known: Sequence[AtLabels]
    foretold: Sequence[AtLabels]
    confidence: float
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutReport:
    """What the page shows.

    Attributes:
        kind: after "coldstart", above the title.
        sentences: the verdict.
        notes: what limits it.
        left_out: names and reasons of what is not in it.
        of_which: what these are, in the singular.
        facts: what was judged by what, in one line.
        hint: how the leaderboard is read.
        percent, higher: how the metric is shown, and whether more of it is better.
        lines: the best first.
        tables: behind the leaderboard.
        commands: each with what it does.
        written_by: the command that wrote it.
    """

    kind: str
    title: str
    sentences: Sequence[str]
    notes: Sequence[str]
    left_out: Sequence[tuple[str, str]]
    of_which: str
    facts: str
    hint: str
    metric: str
    percent: bool
    higher: bool
    confidence: float
    lines: Sequence[Line]
    tables: Sequence[Table]
    more: More | None
    commands: Sequence[tuple[str, str]]
    written_by: str


def render(report: HeldOutReport) -> str:
    """The page; the same report gives the same text."""
    shown: HeldOutReport = visible(report)
    return rendered(
        "held_out.html",
        kind=shown.kind,
        title=shown.title,
        sentences=shown.sentences,
        notes=shown.notes,
        left_out=shown.left_out,
        of_which=shown.of_which,
        told=teller([line.name for line in shown.lines]),
        drawn={"settings": [_drawn(shown)]},
        report=shown,
        setting={"index": 0},
        percent=percent,
    )


def _drawn(report: HeldOutReport) -> dict[str, Any]:
    """What the script draws: predictors by position, as in `chart_data`."""
    widths = [None if one.low is None or one.high is None else one.high - one.low for one in report.lines]
    more = report.more
    return {
        "headline": report.metric,
        "percent": report.percent,
        "higher": report.higher,
        "decimals": Numbers.of(report.percent, widths).decimals,
        "ks": [],
        "contestants": [{"name": line.name, "baseline": False} for line in report.lines],
        "order": list(range(len(report.lines))),
        "coloured": COLOURS,
        "lines": [asdict(line) for line in report.lines],
        "more": more and {part: [asdict(at) for at in getattr(more, part)] for part in ("known", "foretold")},
    }
