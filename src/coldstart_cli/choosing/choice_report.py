"""A verdict of `choose` as the report of a task of one's own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from coldstart_cli.bundles.adapting.estimates import CONFIDENCE
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.choosing import wording
from coldstart_cli.choosing.choosing import Verdict
from coldstart_cli.choosing.learning_curve import MoreLabels
from coldstart_cli.metrics.numbers import UNKNOWN, Numbers, duration, percent
from coldstart_cli.reports.html.held_out import AtLabels, HeldOutReport, Line, More
from coldstart_cli.reports.html.tables import Table

CHOSEN = "chosen by coldstart choose"
"""How the card's own line about the choice begins, of which more is said here."""


def report_of(verdict: Verdict, bundle: Bundle, words: Sequence[str]) -> HeldOutReport:
    """What was tried and taken, what it rests on, and how to do it again.

    Args:
        words: that the command was given.
    """
    card, more = bundle.card, _more(verdict)
    late = wording.overtime(verdict)
    n = f"{verdict.labels} labels" + (f" of {verdict.classes} classes" if verdict.classes else "")
    sentences = [wording.reason(verdict), wording.ties(verdict), wording.luck(verdict)]
    sentences += [] if verdict.more is None else [wording.more_labels(verdict.more, verdict)]
    return HeldOutReport(
        kind="choice",
        title=Path(card.data.root or str(bundle.path)).name,
        sentences=[sentence for sentence in sentences if sentence is not None],
        notes=[said for said in card.said if not said.startswith(CHOSEN)] + ([late] if late else []),
        left_out=list(verdict.left_out.items()),
        of_which="candidate",
        facts=(
            f"{verdict.metric} on {n}, held out in {verdict.folds} folds, "
            f"{wording.times(verdict.repeats)} · {duration(verdict.seconds)} s in all"
        ),
        hint="★ is the one taken, = cannot be told from it by these labels; grey ones are behind.",
        metric=verdict.metric,
        percent=verdict.metric == "accuracy",
        higher=verdict.metric == "accuracy",
        confidence=CONFIDENCE,
        lines=[Line(row.name, row.place, row.value, row.low, row.high) for row in verdict.rows],
        tables=[_leaderboard(verdict)],
        more=more,
        commands=_commands(bundle, words, verdict),
        written_by="coldstart choose --html",
    )


def _commands(bundle: Bundle, words: Sequence[str], verdict: Verdict) -> list[tuple[str, str]]:
    named = shlex.quote(f"bundle={bundle.path}")
    return [
        (shlex.join(["coldstart", "choose", *words]), "the same again; what was judged is kept"),
        (shlex.join(["coldstart", "adapt", *verdict.adapt]), f"{verdict.winner} without choosing"),
        (f"coldstart predict {named} input=PATH", "new inputs of the same form"),
        (f"coldstart evaluate {named} input=LABELLED", "how good it is on labelled rows of its own"),
    ]


def _leaderboard(verdict: Verdict) -> Table:
    places = {"winner": "taken", "tied": "tied", "behind": "behind"}
    head, rows = wording.table(verdict)
    cells = [
        [*cells, places[row.place], row.strategy, row.model]
        for row, cells in zip(verdict.rows, rows, strict=True)
    ]
    text = (0, len(head), len(head) + 1, len(head) + 2)
    return Table.of_numbers("Candidates", ["candidate", *head[1:], "place", "strategy", "model"], cells, text)


def _more(verdict: Verdict) -> More | None:
    """The curve; None where none was drawn."""
    more = verdict.more
    if more is None:
        return None
    now = next(row.value for row in verdict.rows if row.name == more.of) or 0.0
    k = verdict.labels / verdict.classes
    foretold = [AtLabels(k, now, now, now)]
    foretold += [
        AtLabels(gain.k, min(1.0, now + gain.mean), max(0.0, now + gain.low), min(1.0, now + gain.high))
        for gain in more.gains
    ]
    known = [AtLabels(point.k, point.share, None, None) for point in more.points]
    return More(more.of, known, foretold, more.confidence, _curve(more, known, foretold))


def _curve(more: MoreLabels, known: Sequence[AtLabels], foretold: Sequence[AtLabels]) -> Table:
    numbers = Numbers.of(True, [])

    def row(at: AtLabels, how: str) -> list[str]:
        told = at.low is not None and at.high is not None
        between = f"[{numbers.value(at.low)}, {numbers.value(at.high)}]" if told else UNKNOWN
        return [f"{at.k:.1f}", numbers.value(at.value), between, how]

    rows = [row(at, "measured, on a part of the labels") for at in known]
    rows += [row(foretold[0], "measured, on all but a fold")]
    rows += [row(at, "foretold") for at in foretold[1:]]
    rows += [
        [f"{labels:.0f}", percent(float(goal)), UNKNOWN, "about where it is reached"]
        for goal, labels in more.needed.items()
    ]
    return Table.of_numbers("More labels", ["labels a class", "accuracy, %", "interval", ""], rows, (0, 3))
