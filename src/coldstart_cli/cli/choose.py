"""`coldstart choose`: which strategy for a task of your own, as a leaderboard, a verdict and a bundle."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coldstart_cli.cli.adapt import Progress, found_again, what_changed
from coldstart_cli.cli.parsing import Namespace, Parser, Words, a_file
from coldstart_cli.errors import RequestError
from coldstart_cli.files.outputs import check_output, write_output
from coldstart_cli.metrics.numbers import duration
from coldstart_cli.processes import streams
from coldstart_cli.safe_text import printable

if TYPE_CHECKING:
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.choosing.choosing import Outlook, Verdict


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
            "coldstart choose dataset=tabular dataset.root=table.csv p95_ms=5 bundle=table --html a.html",
            "coldstart choose dataset=image_folder dataset.root=PATH 'runs=[outputs/RUN]' bundle=images",
        ),
    )
    parser.key_values(Words(plans=("choose", "adapt")))
    parser.config_dir()
    parser.flag("--dry-run", action="store_true", help="say what would be tried and how long it takes; stop")
    parser.flag("--json", action="store_true", help="print the verdict as a JSON object")
    parser.flag("--html", metavar="FILE", type=a_file, help="write a report there")
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
    if arguments.html is not None:
        check_output(Path(arguments.html), "--html")  # before the minutes that it takes
    if arguments.dry_run:
        outlook = requests.outlook(arguments.overrides, arguments.config_dir)
        print(*map(printable, _foretold(outlook)), sep="\n")
        return 0
    with Progress() as progress:
        verdict, bundle = requests.choose(arguments.overrides, arguments.config_dir, progress.told)
    if arguments.html is not None:
        _write(verdict, bundle, arguments)
    if arguments.json:
        print(json.dumps(_as_json(verdict, bundle), indent=2, allow_nan=False))
        return 0
    print(*map(printable, _told(verdict, bundle)), sep="\n")
    return 0


def _as_json(verdict: Verdict, bundle: Bundle) -> dict[str, Any]:
    card = bundle.card
    changed = None if card.changed is None else asdict(card.changed)
    made = {"bundle": str(bundle.path), "version": card.version, "found": bundle.found, "changed": changed}
    return {**asdict(verdict), **made, "said": card.said}


def _write(verdict: Verdict, bundle: Bundle, arguments: Namespace) -> None:
    from coldstart_cli.choosing.choice_report import report_of
    from coldstart_cli.reports.html import held_out

    folders = [word for folder in arguments.config_dir for word in ("--config-dir", folder)]
    report = report_of(verdict, bundle, [*arguments.overrides, *folders])
    write_output(Path(arguments.html), held_out.render(report).encode(), "--html")
    print(f"report: {arguments.html}", file=sys.stderr)


def _foretold(outlook: Outlook) -> list[str]:
    from coldstart_cli.choosing.wording import times

    lines = [
        f"would judge {_counted(len(outlook.seconds), 'candidate')} in {outlook.deal.n_folds} folds, "
        f"{times(outlook.deal.n_repeats)}: about {duration(sum(outlook.seconds.values()))} s"
    ]
    lines += [f"  {name}: about {duration(seconds)} s" for name, seconds in outlook.seconds.items()]
    lines += [f"  {name} is left out: {why}" for name, why in outlook.left_out.items()]
    core = f"{100 * outlook.core:.0f} % of a core"
    lines.append(f"note: times are those of a few steps, and assume that this process has {core}, as now")
    return lines + [f"note: {notice}" for notice in outlook.notices]


def _told(verdict: Verdict, bundle: Bundle) -> list[str]:
    from coldstart_cli.choosing import wording
    from coldstart_cli.choosing.choice_report import CHOSEN

    path, card = str(bundle.path), bundle.card
    named = shlex.quote(f"bundle={path}")
    since = [] if card.changed is None else what_changed(card.changed, card.version, path)
    more, ties = verdict.more, wording.ties(verdict)
    return [
        *_lines(verdict),
        *(f"{name} is left out: {why}" for name, why in verdict.left_out.items()),
        "",
        f"* {wording.reason(verdict)}",
        *([] if ties is None else [f"= {ties}"]),
        *filter(None, [wording.luck(verdict)]),
        *([] if more is None else [wording.more_labels(more, verdict)]),
        f"{path}: {verdict.winner}, adapted to all {verdict.labels} labels; "
        f"{duration(verdict.seconds)} s in all",
        *(found_again(bundle) or since),
        *(f"note: {notice}" for notice in card.said if not notice.startswith(CHOSEN)),
        *(f"note: {late}" for late in filter(None, [wording.overtime(verdict)])),
        "Next:",
        f"  coldstart predict {named} input=PATH   (new inputs of the same form)",
        f"  {shlex.join(['coldstart', 'adapt', *verdict.adapt])}   ({verdict.winner} without choosing)",
    ]


def _lines(verdict: Verdict) -> list[str]:
    """The leaderboard: a line for each candidate."""
    from coldstart_cli.choosing import wording

    head, rows = wording.table(verdict)
    marked = [[wording.MARKS[row.place] + name, *cells]
              for row, (name, *cells) in zip(verdict.rows, rows, strict=True)]  # fmt: skip
    widths = [max(len(cells[i]) for cells in [head, *marked]) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in [head, *marked]
    ]


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
