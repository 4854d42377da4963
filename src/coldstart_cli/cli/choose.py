"""`coldstart choose`: which strategy for a task of your own, as a leaderboard, a verdict and a bundle."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from coldstart_cli.cli.adapt import Progress
from coldstart_cli.cli.parsing import Namespace, Parser, Words
from coldstart_cli.errors import RequestError
from coldstart_cli.metrics.numbers import Numbers, duration, percent, significant
from coldstart_cli.processes import streams
from coldstart_cli.safe_text import printable

CHOSEN = "chosen by coldstart choose"
"""How the card's own line about the choice begins, of which more is said here."""

if TYPE_CHECKING:
    from coldstart_cli.choosing.choosing import Outlook, Row, Verdict
    from coldstart_cli.choosing.learning_curve import MoreLabels


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "choose",
        run,
        "try strategies on labels of your own: a leaderboard, a verdict and the winner's bundle",
        "What is tried depends on the layout: coldstart cat candidates/text, vectors, windows or image. All "
        "are judged on the same held-out labels; the same command again goes on where it was stopped.",
        examples=(
            "coldstart choose dataset=text dataset.root=tickets.csv bundle=tickets",
            "coldstart choose dataset=tabular dataset.root=table.csv p95_ms=5 bundle=table",
            "coldstart choose dataset=image_folder dataset.root=PATH 'runs=[outputs/RUN]' bundle=images",
        ),
    )
    parser.key_values(Words(plans=("choose", "adapt")))
    parser.config_dir()
    parser.flag("--dry-run", action="store_true", help="say what would be tried and how long it takes; stop")
    parser.flag("--json", action="store_true", help="print the verdict as a JSON object")
    parser.flag("-m", "--multirun", action="store_true", help="not for choose, which makes one bundle")


def run(arguments: Namespace) -> int:
    """Judges the candidates, writes the winner's bundle, and says why it won.

    Raises:
        RequestError: for what cannot be chosen from.
    """
    streams.set_up()
    from coldstart_cli.choosing import requests

    if arguments.multirun:
        raise RequestError("choose: it makes one bundle; run it once for each data set")
    if arguments.dry_run:
        outlook = requests.outlook(arguments.overrides, arguments.config_dir)
        print(*map(printable, _foretold(outlook)), sep="\n")
        return 0
    with Progress() as progress:
        verdict, bundle = requests.choose(arguments.overrides, arguments.config_dir, progress.told)
    if arguments.json:
        print(
            json.dumps(
                {**asdict(verdict), "bundle": str(bundle.path), "said": bundle.card.said},
                indent=2,
                allow_nan=False,
            )
        )
        return 0
    print(*map(printable, _told(verdict, str(bundle.path), bundle.card.said)), sep="\n")
    return 0


def _foretold(outlook: Outlook) -> list[str]:
    lines = [
        f"would judge {_counted(len(outlook.seconds), 'candidate')} in {outlook.deal.n_folds} folds, "
        f"{_times(outlook.deal.n_repeats)}: about {duration(sum(outlook.seconds.values()))} s"
    ]
    lines += [f"  {name}: about {duration(seconds)} s" for name, seconds in outlook.seconds.items()]
    return lines + [f"  {name} is left out: {why}" for name, why in outlook.left_out.items()]


def _told(verdict: Verdict, bundle: str, said: Sequence[str]) -> list[str]:
    named = shlex.quote(f"bundle={bundle}")
    return [
        *_table(verdict),
        *(f"{name} is left out: {why}" for name, why in verdict.left_out.items()),
        "",
        *_reasons(verdict),
        *([] if verdict.more is None else _more(verdict.more, verdict)),
        f"{bundle}: {verdict.winner}, adapted to all {verdict.labels} labels; "
        f"{duration(verdict.seconds)} s in all",
        *(f"note: {notice}" for notice in said if not notice.startswith(CHOSEN)),
        "Next:",
        f"  coldstart predict {named} input=PATH   (new inputs of the same form)",
    ]


def _table(verdict: Verdict) -> list[str]:
    """The leaderboard: a line for each candidate."""
    numbers = Numbers.of(verdict.metric == "accuracy", [])
    unit = ", %" if numbers.percent else ""
    head = ["", verdict.metric + unit, "interval", "balanced, %", "adapt, s", "answer, ms", "MB"]
    rows = [head, *(_cells(row, numbers) for row in verdict.rows)]
    if all(row.balanced_accuracy is None for row in verdict.rows):
        rows = [[*cells[:3], *cells[4:]] for cells in rows]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    ]


def _cells(row: Row, numbers: Numbers) -> list[str]:
    mark = {"winner": "* ", "tied": "= ", "behind": "  "}[row.place]
    known = row.value is not None and row.low is not None and row.high is not None
    return [
        mark + row.name,
        "-" if row.value is None else numbers.value(row.value),
        f"[{numbers.value(row.low)}, {numbers.value(row.high)}]" if known else "-",
        "-" if row.balanced_accuracy is None else f"{100 * row.balanced_accuracy:.1f}",
        duration(row.seconds),
        "-" if row.p95_ms is None else significant(row.p95_ms),
        f"{row.mb:.1f}" if row.mb >= 0.1 else "< 0.1",
    ]


def _reasons(verdict: Verdict) -> list[str]:
    """Why this one: what decided, what cannot be told apart, and what the choice cost."""
    from coldstart_cli.metrics.choice import SURE

    judged = f"cross-validation on {verdict.labels} labels ({verdict.folds} folds, {_times(verdict.repeats)})"
    names = [row.name for row in verdict.rows if row.place == "tied"]
    if all(row.value is None for row in verdict.rows):
        return [f"* {verdict.winner} by the rule ({verdict.favoured}): no label can be held out to judge by"]
    if verdict.by == "cross-validation":
        p = 1.0 if verdict.p is None else verdict.p
        surely = "better" if p < SURE else "more often right, though not surely better,"
        why = (
            f"* {verdict.winner} by {judged}: {surely} than {verdict.favourite}, which the rule prefers "
            f"({verdict.favoured}), p = {significant(p)}"
        )
    else:
        why = f"* {verdict.winner} by the rule ({verdict.favoured}); {judged} does not contradict it"
    lines = [why]
    if names:
        lines.append(f"= cannot be told from it by these labels: {', '.join(names)}")
    if verdict.luck > 0:
        lines.append(
            f"the winner's {verdict.metric} is what is left after {100 * verdict.luck:.1f} points for having "
            "been chosen by it"
            if verdict.metric == "accuracy"
            else f"the winner's {verdict.metric} has {significant(verdict.luck)} for having been chosen by it"
        )
    return lines


def _more(more: MoreLabels, verdict: Verdict) -> list[str]:
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
    return [f"more labels{of}: {'; '.join(parts)}; {percent(more.confidence)} % intervals"]


def _times(n: int) -> str:
    return "dealt once" if n == 1 else f"dealt {n} times"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
