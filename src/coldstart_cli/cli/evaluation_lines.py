"""What `coldstart evaluate bundle=DIR` prints, and the two tables that it writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

from coldstart_cli.bundles.evaluating import wording
from coldstart_cli.bundles.evaluating.evaluation import ClassScore, Doubt, Evaluation, OfClasses
from coldstart_cli.metrics.fresh import Answered
from coldstart_cli.safe_text import printable

MOST_CLASSES = 12
"""Of a matrix, or a table, that a terminal shows whole."""
MOST_ROWS = 5
_WIDE = 70
"""Letters of an input that a line shows."""


def lines(found: Evaluation) -> list[str]:
    """The whole page."""
    told = [f"{found.bundle} on {found.input}: {wording.counted(found)}"]
    if found.reals is not None:
        told += wording.reals(found.reals)
    if found.classes is not None:
        told += _classes(found.classes)
    told += [f"note: {line}" for line in found.said]
    return [*told, "Next:", f"  {wording.predict_words(found)}   (new inputs of the same form)"]


def _classes(found: OfClasses) -> list[str]:
    told = [
        *wording.scores(found),
        f"probabilities: {wording.believed(found.calibrated)}; {wording.believed(found.before)}",
        "",
        *_coverage(found),
        "",
        *_scores(found.classes),
        "",
        *_confusion(found),
    ]
    if found.doubts:
        told += ["", *_doubts(found.doubts)]
    if found.unknown is not None:
        told += ["", *wording.unknown(found.unknown)]
    if found.guarantee is not None:
        told += ["", *wording.guarantee(found.guarantee, foreign=found.unknown is not None)]
    return told


def _coverage(found: OfClasses) -> list[str]:
    rows: list[tuple[str, ...]] = [("answered, %", "from probability", "accuracy, %", "interval", "")]
    own = [] if found.at_threshold is None else [found.at_threshold]
    rows += [_answered(one, "") for one in found.coverage]
    rows += [_answered(one, "the bundle's threshold") for one in own]
    return _columns(rows, left=0)


def _answered(one: Answered, mark: str) -> tuple[str, ...]:
    right = "-" if not one.answered else f"{100 * one.precision:.1f}"
    interval = f"[{100 * one.low:.1f}, {100 * one.high:.1f}]"
    return (f"{100 * one.share:.1f}", f"{one.threshold:.4f}", right, interval, mark)


def _scores(classes: Sequence[ClassScore]) -> list[str]:
    """Of each class what is found of it, and what is right of what it is answered; the weakest first."""
    order = sorted(classes, key=lambda one: (one.rows == 0, one.f1 or 0.0))
    shown = order if len(order) <= MOST_CLASSES else order[:MOST_CLASSES]
    head = ("class", "rows", "recall, %", "precision, %", "F1, %")
    rows = [head] + [
        (
            printable(one.label),
            str(one.rows),
            *("-" if x is None else f"{100 * x:.1f}" for x in (one.recall, one.precision, one.f1)),
        )
        for one in shown
    ]
    further = len(order) - len(shown)
    return _columns(rows, left=1) + (
        [f"and {further:,} further classes with a higher F1 (--json)"] if further else []
    )


def _confusion(found: OfClasses) -> list[str]:
    """The matrix, or its largest cells that are no right answers."""
    names = [one.label for one in found.classes]
    if len(names) <= MOST_CLASSES:
        counts = {(one.label, one.answer): one.rows for one in found.confusion}
        rows = [("label \\ answer", *map(str, range(1, len(names) + 1)))]
        rows += [
            (f"{i} {printable(name)}", *(str(counts.get((name, other), ".")) for other in names))
            for i, name in enumerate(names, start=1)
        ]
        return _columns(rows, left=1)
    wrong = [one for one in found.confusion if one.label != one.answer]
    if not wrong:
        return ["no label is confused with another"]
    rows = [("label", "answered as", "rows")]
    rows += [(printable(w.label), printable(w.answer), str(w.rows)) for w in wrong[:MOST_CLASSES]]
    further = f"and {len(wrong) - MOST_CLASSES:,} further pairs (output=FILE.csv has all)"
    return _columns(rows, left=2) + ([further] if len(wrong) > MOST_CLASSES else [])


def _doubts(doubts: Sequence[Doubt]) -> list[str]:
    told = [f"wrong answers: {len(doubts):,} (wrong=FILE.csv has all), the most sure first"]
    told += [f"  {_doubt(one)}" for one in doubts[:MOST_ROWS]]
    suspicious, said = wording.suspicious(doubts)
    if suspicious:
        told += [said, *(f"  {_doubt(one)}" for one in suspicious[:MOST_ROWS])]
    return told


def _doubt(one: Doubt) -> str:
    content = " ".join(str(v) for v in one.columns.values() if v not in (one.label, None))
    content = content if len(content) <= _WIDE else f"{content[:_WIDE]}..."
    return (
        f"{one.place}: labelled {one.label} ({one.probability_of_label:.3f}), answered {one.answer} "
        f"({one.probability:.3f}){': ' if content else ''}{content}"
    )


def _columns(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Cells in columns; the first `left` of them begin together, the others end together."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def write_matrix(found: OfClasses, out: TextIO) -> None:
    """The confusion matrix: a row for each label, a column for each answer."""
    names = [one.label for one in found.classes]
    cells: dict[str, dict[str, int]] = {}
    for one in found.confusion:
        cells.setdefault(one.label, {})[one.answer] = one.rows
    _write([("label", *names), *((n, *(cells.get(n, {}).get(o, 0) for o in names)) for n in names)], out)


def write_doubts(doubts: Sequence[Doubt], out: TextIO) -> None:
    """The rows that are answered wrongly, with their columns."""
    columns = list(dict.fromkeys(name for one in doubts for name in one.columns))
    own = ("input", "label", "answer", "probability", "probability_of_label", "label_looks_wrong")
    heads = [f"given_{name}" if name in own else name for name in columns]
    rows: list[Sequence[object]] = [(*own, *heads)]
    for one in doubts:
        looks = "yes" if one.label_looks_wrong else "no"
        said = (one.place, one.label, one.answer, one.probability, one.probability_of_label, looks)
        rows.append((*said, *(one.columns.get(name) for name in columns)))
    _write(rows, out)


def _write(rows: Iterable[Sequence[object]], out: TextIO) -> None:
    table = csv.writer(out, lineterminator="\n")
    for row in rows:
        table.writerow([printable(cell, kept="\n\t") if isinstance(cell, str) else cell for cell in row])
