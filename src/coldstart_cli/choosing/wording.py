"""What a verdict of `choose` says, in words and cells: for the terminal and for the report."""

from __future__ import annotations

from coldstart_cli.choosing.choosing import Row, Verdict
from coldstart_cli.choosing.learning_curve import MoreLabels
from coldstart_cli.metrics.choice import SURE
from coldstart_cli.metrics.numbers import Numbers, duration, percent, significant


def reason(verdict: Verdict) -> str:
    """Why the winner was taken: what decided."""
    judged = f"cross-validation on {verdict.labels} labels ({verdict.folds} folds, {times(verdict.repeats)})"
    if all(row.value is None for row in verdict.rows):
        return f"{verdict.winner} by the rule ({verdict.favoured}): no label can be held out to judge by"
    if verdict.by != "cross-validation":
        return f"{verdict.winner} by the rule ({verdict.favoured}); {judged} does not contradict it"
    p = 1.0 if verdict.p is None else verdict.p
    surely = "better" if p < SURE else "more often right, though not surely better,"
    return (
        f"{verdict.winner} by {judged}: {surely} than {verdict.favourite}, which the rule prefers "
        f"({verdict.favoured}), p = {significant(p)}"
    )


def ties(verdict: Verdict) -> str | None:
    """Who cannot be told from the winner; None where nobody."""
    names = [row.name for row in verdict.rows if row.place == "tied"]
    return f"cannot be told from it by these labels: {', '.join(names)}" if names else None


def luck(verdict: Verdict) -> str | None:
    """What the choice cost; None where nothing."""
    if not verdict.luck > 0:
        return None
    if verdict.metric == "accuracy":
        return (
            f"the winner's {verdict.metric} is what is left after {100 * verdict.luck:.1f} points for having "
            "been chosen by it"
        )
    return f"the winner's {verdict.metric} has {significant(verdict.luck)} for having been chosen by it"


def overtime(verdict: Verdict) -> str | None:
    """That more time was taken than allowed, and why; None where it was not."""
    minutes = verdict.seconds / 60
    if minutes <= verdict.time_minutes:
        return None
    return (
        f"it took {minutes:.1f} minutes, time_minutes={verdict.time_minutes:g} allowed less: what few steps "
        "foretell takes longer where other programs leave this one less of a core"
    )


def table(verdict: Verdict) -> tuple[list[str], list[list[str]]]:
    """The leaderboard: the names of its columns, and a row for each candidate."""
    numbers = Numbers.of(verdict.metric == "accuracy", [])
    unit = ", %" if numbers.percent else ""
    head = ["", verdict.metric + unit, "interval", "balanced, %", "adapt, s", "answer, ms", "MB"]
    rows = [_cells(row, numbers) for row in verdict.rows]
    if all(row.balanced_accuracy is None for row in verdict.rows):
        return [*head[:3], *head[4:]], [[*cells[:3], *cells[4:]] for cells in rows]
    return head, rows


MARKS = {"winner": "* ", "tied": "= ", "behind": "  "}


def _cells(row: Row, numbers: Numbers) -> list[str]:
    known = row.value is not None and row.low is not None and row.high is not None
    return [
        row.name,
        "-" if row.value is None else numbers.value(row.value),
        f"[{numbers.value(row.low)}, {numbers.value(row.high)}]" if known else "-",
        "-" if row.balanced_accuracy is None else f"{100 * row.balanced_accuracy:.1f}",
        duration(row.seconds),
        "-" if row.p95_ms is None else significant(row.p95_ms),
        f"{row.mb:.1f}" if row.mb >= 0.1 else "< 0.1",
    ]


def more_labels(more: MoreLabels, verdict: Verdict) -> str:
    """How many labels more: what five a class would bring, what twice as many, and what a goal takes."""
    k = verdict.labels / verdict.classes
    parts = [
        f"with {gain.k - k:.0f} more a class {100 * gain.mean:+.1f} points "
        f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
        for gain in more.gains
    ]
    parts += [
        f"{percent(float(goal))} % at about {labels:.0f} a class" for goal, labels in more.needed.items()
    ]
    of = "" if more.of == verdict.winner else f" (by {more.of}, which is quicker)"
    return f"more labels{of}: {'; '.join(parts)}; {percent(more.confidence)} % intervals"


def times(n: int) -> str:
    """How often folds were dealt."""
    return "dealt once" if n == 1 else f"dealt {n} times"
