"""Bundles beside one another: as lines for the terminal, as JSON, and as the report of held-out labels."""

from __future__ import annotations

import shlex
from typing import Any, cast

from coldstart_cli.comparison.bundles import CONFIDENCE, BundleComparison, BundleFacts, BundlePair
from coldstart_cli.files.durable import finite
from coldstart_cli.metrics.numbers import Numbers, duration, is_known, p_value, percent
from coldstart_cli.reports.html.held_out import HeldOutReport, Line, Place
from coldstart_cli.reports.html.tables import Table


def lines(found: BundleComparison) -> list[str]:
    """The verdict, a row for each bundle, and what limits it."""
    marks = {"winner": "* ", "tied": "= ", "behind": "  "}
    head, rows = _table(found)
    cells = [["", *head[1:]]]
    cells += [
        [marks[_place(found, one)] + row[0], *row[1:]] for one, row in zip(found.bundles, rows, strict=True)
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    left = (0, 5, 6)
    table = [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return [*table, "", *sentences(found), *(f"note: {note}" for note in found.notes)]


def sentences(found: BundleComparison) -> list[str]:
    """Which is best, and what held-out rows cannot tell from it."""
    best = found.bundles[0]
    rows = f"{found.n_rows} held-out rows"
    rows += "" if found.n_clusters == found.n_rows else f" ({found.n_clusters} different ones)"
    told = []
    for one in found.bundles[1:]:
        pair = found.against_best(one.name)
        if pair is not None and not found.tied(one.name):
            told.append(f"{best.name} is better than {one.name} by {_difference(found, pair)} on {rows}")
    ties = [one.name for one in found.bundles[1:] if found.tied(one.name)]
    if ties:
        how = "is right most often" if best.higher else "errs least"
        told.append(f"{rows} cannot tell {', '.join(ties)} from {best.name}, which {how}")
    return told


def report_of(found: BundleComparison) -> HeldOutReport:
    """The page of `compare --html`."""
    best = found.bundles[0]
    head, rows = _table(found)
    title = ", ".join(one.name for one in found.bundles[:3])
    title += " and others" if len(found.bundles) > 3 else ""
    named = shlex.quote(f"bundle={best.path}")
    return HeldOutReport(
        kind="bundles",
        title=title,
        sentences=sentences(found),
        notes=found.notes,
        left_out=[(one.path, one.reason) for one in found.left_out],
        of_which="bundle",
        facts=f"{best.metric} on {found.n_rows} rows, each answered by learners that had not seen it",
        hint="★ is the best, = cannot be told from it by these rows; grey ones are behind.",
        metric=best.metric,
        percent=best.metric == "accuracy",
        higher=best.higher,
        confidence=CONFIDENCE,
        lines=[Line(o.name, _place(found, o), o.value, o.low, o.high) for o in found.bundles],
        tables=[Table.of_numbers("Bundles", head, rows, (0, 5, 6)), _pairs(found)],
        more=None,
        commands=[
            (f"coldstart predict {named} input=PATH", "new inputs of the same form"),
            (f"coldstart evaluate {named} input=LABELLED", "on labelled rows of its own"),
        ],
        written_by="coldstart compare --html",
    )


def as_json(found: BundleComparison) -> dict[str, Any]:
    """What --json prints: values alone, null where a number is not known."""
    kept = (
        "name",
        "path",
        "strategy",
        "model",
        "metric",
        "value",
        "low",
        "high",
        "folds",
        "repeats",
        "seconds",
    )
    values: dict[str, Any] = {
        "bundles": [
            {**{key: getattr(one, key) for key in kept}, "place": _place(found, one)} for one in found.bundles
        ],
        "pairs": [
            {
                "a": pair.a,
                "b": pair.b,
                **{key: getattr(pair.found, key) for key in ("difference", "low", "high", "p")},
                "p_holm": pair.p_holm,
            }
            for pair in found.pairs
        ],
        "rows": found.n_rows,
        "different_rows": found.n_clusters,
        "confidence": CONFIDENCE,
        "sentences": sentences(found),
        "notes": list(found.notes),
        "left_out": [{"path": one.path, "reason": one.reason} for one in found.left_out],
    }
    return cast("dict[str, Any]", finite(values))


def _place(found: BundleComparison, one: BundleFacts) -> Place:
    if one is found.bundles[0]:
        return "winner"
    return "tied" if found.tied(one.name) else "behind"


def _numbers(found: BundleComparison) -> Numbers:
    widths = [None if o.low is None or o.high is None else (o.high - o.low) / 2 for o in found.bundles]
    return Numbers.of(found.bundles[0].metric == "accuracy", widths)


def _table(found: BundleComparison) -> tuple[list[str], list[list[str]]]:
    numbers = _numbers(found)
    unit = ", %" if numbers.percent else ""
    head = ["bundle", found.bundles[0].metric + unit, "interval", "folds", "adapt, s", "strategy", "model"]
    rows = [
        [
            one.name,
            numbers.value(one.value),
            f"[{numbers.value(one.low)}, {numbers.value(one.high)}]" if is_known(one.low) else "-",
            f"{one.folds} x {one.repeats}",
            duration(one.seconds),
            one.strategy,
            one.model,
        ]
        for one in found.bundles
    ]
    return head, rows


def _difference(found: BundleComparison, pair: BundlePair) -> str:
    """`5.0 points [1.2, 9.1], p = 0.01`."""
    scale, unit = (100, " points") if found.bundles[0].metric == "accuracy" else (1, "")
    test = pair.found
    said = f"{scale * test.difference:.3g}{unit} [{scale * test.low:.3g}, {scale * test.high:.3g}]"
    return f"{said} ({percent(CONFIDENCE)} %), {p_value(pair.p_holm, 'p')}"


def _pairs(found: BundleComparison) -> Table:
    scale = 100 if found.bundles[0].metric == "accuracy" else 1
    rows = [
        [
            pair.a,
            pair.b,
            f"{scale * pair.found.difference:+.3g}",
            f"[{scale * pair.found.low:.3g}, {scale * pair.found.high:.3g}]",
            p_value(pair.found.p),
            p_value(pair.p_holm),
        ]
        for pair in found.pairs
    ]
    unit = ", points" if scale == 100 else ""
    return Table.of_numbers(
        "Pairs", ["bundle", "against", f"better by{unit}", "interval", "p", "p, Holm"], rows, (0, 1)
    )
