"""An evaluation of a bundle as a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.bundles.evaluating import wording
from coldstart_cli.bundles.evaluating.evaluating import CONFIDENCE
from coldstart_cli.bundles.evaluating.evaluation import (
    Believed,
    Doubt,
    Estimate,
    Evaluation,
    OfClasses,
    OfReals,
)
from coldstart_cli.metrics.fresh import Answered
from coldstart_cli.metrics.numbers import UNKNOWN, significant
from coldstart_cli.reports.html.evaluated import EvaluatedReport, Kept, OfClassesReport, Reliable
from coldstart_cli.reports.html.tables import Rows, Table

MOST_ROWS = 500
"""Of wrong answers, that the page holds."""
WIDE = 400
"""Letters of an input that it shows."""


def report_of(found: Evaluation, command: str) -> EvaluatedReport:
    """What `lines` prints, as a page.

    Args:
        command: that makes it again.
    """
    classes = found.classes
    return EvaluatedReport(
        title=f"{Path(found.bundle).name} on {Path(found.input).name}",
        sentences=_verdict(found),
        notes=[*found.said, *([] if classes is None else _missing(classes))],
        facts=f"{found.bundle} on {found.input}: {wording.counted(found)}",
        confidence=CONFIDENCE,
        scores=_scores(found),
        of_classes=None if classes is None else _of_classes(classes),
        commands=[
            (wording.predict_words(found), "new inputs of the same form"),
            (command, "the same page again"),
        ],
    )


def _verdict(found: Evaluation) -> list[str]:
    if found.classes is None:
        return [] if found.reals is None else wording.reals(found.reals)[:1]
    classes = found.classes
    told = wording.scores(classes)[:1]
    if classes.guarantee is not None:
        told += wording.guarantee(classes.guarantee, foreign=classes.unknown is not None)
    if said := wording.suspicious(classes.doubts)[1]:
        told.append(said)
    return told


def _missing(found: OfClasses) -> list[str]:
    """What the page leaves out, and rows that no number counts."""
    told = [] if found.unknown is None else wording.unknown(found.unknown)[:1]
    if len(found.doubts) > MOST_ROWS:
        told.append(
            f"the page has the {MOST_ROWS:,} wrong answers that are most sure of {len(found.doubts):,}; "
            "wrong=FILE.csv has all"
        )
    return told


def _scores(found: Evaluation) -> Table:
    if found.classes is not None:
        return _scores_of_classes(found.classes)
    assert found.reals is not None
    return _scores_of_reals(found.reals)


def _scores_of_classes(found: OfClasses) -> Table:
    rows = [
        [name, *_in_percent(one)]
        for name, one in (
            ("accuracy, %", found.accuracy),
            ("balanced accuracy, %", found.balanced_accuracy),
            ("macro F1, %", found.macro_f1),
        )
    ]
    rows.append(["accuracy of always the most frequent label, %", f"{100 * found.majority:.1f}", UNKNOWN])
    for one in _temperatures(found):
        ece = UNKNOWN if one.ece is None else f"{100 * one.ece:.1f}"
        values = (("ECE, %", ece), ("NLL", f"{one.nll:.3f}"), ("Brier score", f"{one.brier:.3f}"))
        rows += [[f"{name} at temperature {significant(one.temperature)}", v, UNKNOWN] for name, v in values]
    return Table.of_numbers("All rows", ["score", "value", "interval"], rows, (0,))


def _scores_of_reals(found: OfReals) -> Table:
    parts = (("MSE", found.mse), ("RMSE", found.rmse), ("MAE", found.mae), ("R2", found.r2))
    rows = [
        [name, significant(one.value), f"[{significant(one.low)}, {significant(one.high)}]"]
        for name, one in parts
    ]
    return Table.of_numbers("All rows", ["score", "value", "interval"], rows, (0,))


def _in_percent(one: Estimate) -> tuple[str, str]:
    value, low, high = (UNKNOWN if x is None else f"{100 * x:.1f}" for x in (one.value, one.low, one.high))
    return value, f"[{low}, {high}]"


def _temperatures(found: OfClasses) -> list[Believed]:
    """At the bundle's temperature and before it; one where it is 1."""
    same = found.calibrated.temperature == found.before.temperature
    return [found.calibrated, *([] if same else [found.before])]


def _of_classes(found: OfClasses) -> OfClassesReport:
    place = {one.label: i for i, one in enumerate(found.classes)}
    asked = found.guarantee
    return OfClassesReport(
        labels=[one.label for one in found.classes],
        confusion=[(place[one.label], place[one.answer], one.rows) for one in found.confusion],
        reliable=[
            Reliable(
                f"at temperature {significant(one.temperature)}",
                [(b.rows, b.probability, b.accuracy) for b in one.bins],
            )
            for one in _temperatures(found)
        ],
        kept=[*map(_kept, found.curve), *_thresholds(found)],
        allowed=None if asked is None else 1 - asked.precision,
        classes=_classes(found),
        confused=_confused(found),
        bins=_bins(found),
        coverage=_coverage(found),
        wrong=_wrong(found.doubts),
        suspicious=_suspicious(found.doubts),
        unknown=None if found.unknown is None else _unknown(found.unknown.labels),
    )


def _kept(one: Answered, name: str = "") -> Kept:
    risk = None if math.isnan(one.precision) else 1 - one.precision
    return Kept(one.share, one.threshold, risk, 1 - one.high, 1 - one.low, name)


def _thresholds(found: OfClasses) -> list[Kept]:
    """The bundle's own, and the one that keeps the precision asked for."""
    own = [] if found.at_threshold is None else [_kept(found.at_threshold, "the bundle's threshold")]
    asked = found.guarantee
    if asked is not None and asked.found is not None:
        one = asked.found  # whose interval is that of the search
        name = f"threshold for precision {100 * asked.precision:g} %"
        own.append(Kept(one.share, one.threshold, 1 - one.precision, None, None, name))
    return own


def _classes(found: OfClasses) -> Table:
    order = sorted(found.classes, key=lambda one: (one.rows == 0, one.f1 or 0.0))
    rows = [
        [
            one.label,
            f"{one.rows:,}",
            f"{one.answers:,}",
            *(UNKNOWN if x is None else f"{100 * x:.1f}" for x in (one.precision, one.recall, one.f1)),
        ]
        for one in order
    ]
    head = ["class", "rows", "answers", "precision, %", "recall, %", "F1, %"]
    return Table.of_numbers("Each class, the weakest first", head, rows, (0,), sortable=True)


def _confused(found: OfClasses) -> Table | None:
    rows = [[o.label, o.answer, f"{o.rows:,}"] for o in found.confusion if o.label != o.answer]
    head = ["label", "answered as", "rows"]
    return (
        Table.of_numbers("Labels confused with others", head, rows, (0, 1), sortable=True) if rows else None
    )


def _bins(found: OfClasses) -> Table:
    rows = [
        [
            significant(one.temperature),
            f"{b.rows:,}",
            f"{100 * b.probability:.1f}",
            f"{100 * b.accuracy:.1f}",
        ]
        for one in _temperatures(found)
        for b in one.bins
    ]
    head = ["temperature", "answers", "mean probability, %", "right, %"]
    return Table.of_numbers("Reliability", head, rows, (0,))


def _coverage(found: OfClasses) -> Table:
    points = [*map(_kept, found.curve), *_thresholds(found)]
    rows: Rows = [
        [
            f"{100 * one.share:.1f}",
            f"{one.threshold:.4f}",
            UNKNOWN if one.risk is None else f"{100 * one.risk:.1f}",
            UNKNOWN
            if one.low is None or one.high is None
            else f"[{100 * one.low:.1f}, {100 * one.high:.1f}]",
            one.name,
        ]
        for one in points
    ]
    head = ["answered, %", "from probability", "wrong, %", "interval", ""]
    return Table.of_numbers("Risk against coverage", head, rows, (4,))


def _wrong(doubts: Sequence[Doubt]) -> Table | None:
    if not doubts:
        return None
    rows = [[*_row(one), "yes" if one.label_looks_wrong else ""] for one in doubts[:MOST_ROWS]]
    title = "Wrong answers, the most sure first"
    return Table.of_numbers(title, [*_OF_A_ROW, "label looks wrong"], rows, (0, 1, 2, 4, 6), sortable=True)


def _suspicious(doubts: Sequence[Doubt]) -> Table | None:
    rows = [_row(one) for one in wording.suspicious(doubts)[0][:MOST_ROWS]]
    title = "Labels that look wrong, the least likely first"
    return Table.of_numbers(title, _OF_A_ROW, rows, (0, 1, 2, 4), sortable=True) if rows else None


_OF_A_ROW = ["row", "input", "label", "its probability", "answer", "probability"]


def _row(one: Doubt) -> list[str]:
    shares = (f"{one.probability_of_label:.3f}", f"{one.probability:.3f}")
    return [one.place, _content(one), one.label, shares[0], one.answer, shares[1]]


def _content(one: Doubt) -> str:
    """The input as it was read: a text, or the columns by name."""
    known: Mapping[str, Any] = {k: v for k, v in one.columns.items() if v not in (one.label, None)}
    parts = map(str, known.values()) if len(known) == 1 else (f"{k}: {v}" for k, v in known.items())
    told = "; ".join(parts)
    return told if len(told) <= WIDE else f"{told[:WIDE]}..."


def _unknown(labels: Mapping[str, int]) -> Table:
    rows = [[name, f"{n:,}"] for name, n in labels.items()]
    return Table.of_numbers(
        "Labels that the bundle does not know", ["label", "rows"], rows, (0,), sortable=True
    )
