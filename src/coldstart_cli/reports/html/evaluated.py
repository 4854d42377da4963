"""A predictor scored on labelled rows, as one HTML file: what `evaluate bundle=` found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coldstart_cli.metrics.numbers import percent
from coldstart_cli.reports.html.chart_data import COLOURS, visible
from coldstart_cli.reports.html.page import rendered, teller
from coldstart_cli.reports.html.tables import Table


@dataclass(frozen=True, slots=True)
class Reliable:
    """Probabilities at one temperature.

    Attributes:
        bins: (rows, mean probability, share that is right) of answers of about the same probability.
    """

    name: str
    bins: Sequence[tuple[int, float, float]]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is answered from a threshold on: share of the rows, and share of the answers that is wrong.

    Attributes:
        risk: None where nothing is answered.
        low, high: its interval, where it is known.
        name: where it is a threshold of its own, such as the bundle's; else empty.
    """

    share: float
    threshold: float
    risk: float | None
    low: float | None
    high: float | None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClassesReport:
    """What the page shows of answers in classes.

    Attributes:
        labels: of the classes.
        confusion: (label, answer, rows) by position, of pairs that occur.
        kept: points of the curve, and thresholds with names.
        allowed: share of the answers that may be wrong, where a precision was asked for.
        wrong, suspicious, unknown: tables; None where there is no such row.
    """

    labels: Sequence[str]
    confusion: Sequence[tuple[int, int, int]]
    reliable: Sequence[Reliable]
    kept: Sequence[Kept]
    allowed: float | None
    classes: Table
    confused: Table | None
    bins: Table
    coverage: Table
    wrong: Table | None
    suspicious: Table | None
    unknown: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedReport:
    """What the page shows.

    Attributes:
        sentences: the verdict.
        notes: what limits it.
        facts: what was scored on what, in one line.
        scores: the metrics of all rows.
        of_classes: None of a regression.
        commands: each with what it does.
    """

    title: str
    sentences: Sequence[str]
    notes: Sequence[str]
    facts: str
    confidence: float
    scores: Table
    of_classes: OfClassesReport | None
    commands: Sequence[tuple[str, str]]


def render(report: EvaluatedReport) -> str:
    """The page; the same report gives the same text."""
    shown: EvaluatedReport = visible(report)
    return rendered(
        "evaluated.html",
        kind="evaluation",
        title=shown.title,
        sentences=shown.sentences,
        notes=shown.notes,
        left_out=[],
        of_which="row",
        told=teller([]),
        drawn={"settings": [_drawn(shown.of_classes)] if shown.of_classes else []},
        report=shown,
        setting={"index": 0},
        percent=percent,
    )


def _drawn(found: OfClassesReport) -> dict[str, Any]:
    """What the script draws: classes by position, as in `chart_data`."""
    return {
        "headline": "accuracy",
        "percent": True,
        "higher": True,
        "decimals": 1,
        "ks": [],
        "contestants": [{"name": one.name, "baseline": False} for one in found.reliable],
        "order": list(range(len(found.reliable))),
        "coloured": COLOURS,
        "labels": found.labels,
        "confusion": found.confusion,
        "reliable": [asdict(one) for one in found.reliable],
        "kept": [asdict(one) for one in found.kept],
        "allowed": found.allowed,
    }
