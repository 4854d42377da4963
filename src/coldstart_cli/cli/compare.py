"""`coldstart compare`: run directories beside one another, or bundles.

Neither Hydra nor torch is imported: the answer comes in a second.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coldstart_cli.cli.parsing import Namespace, Number, Parser, a_file
from coldstart_cli.errors import RequestError, line
from coldstart_cli.safe_text import printable

if TYPE_CHECKING:
    from coldstart_cli.comparison.findings import Comparison
    from coldstart_cli.comparison.results import Result


def add(program: Parser) -> None:
    """The command's flags."""
    parser = program.command(
        "compare",
        run,
        "runs, or bundles, beside one another: a verdict, a table, an HTML report",
        "Runs are compared on the tasks that they share, bundles on the held-out rows of the same labelled "
        "data; nothing is computed anew.",
        examples=(
            "coldstart compare outputs --html report.html",
            "coldstart compare outputs --for k=5,p95_ms=10",
            "coldstart compare outputs --latex table.tex --figure curves.pdf",
            "coldstart compare tickets other_tickets --html bundles.html",
        ),
    )
    parser.place(
        "paths", nargs="*", metavar="DIR", type=a_file, help="run directories, bundles, or folders of them"
    )
    parser.flag("--html", metavar="FILE", type=a_file, help="write a report there")
    parser.flag("--latex", metavar="FILE", type=a_file, help="write a table for a paper there (booktabs)")
    parser.flag("--markdown", metavar="FILE", type=a_file, help="write the same table there as Markdown")
    parser.flag(
        "--figure", metavar="FILE.pdf", type=a_file,
        help="draw the curves over shots there, with intervals: .pdf, .svg or .png",
    )  # fmt: skip
    parser.flag("--tasks", metavar="FILE.csv", type=a_file, help="write every task's value there, as CSV")
    parser.flag("--json", action="store_true", help="print JSON")
    parser.flag("--csv", action="store_true", help="print CSV, a row for each contestant and number of shots")
    parser.flag(
        "--for",
        dest="need",
        metavar="k=5,p95_ms=10",
        help="the best with k labels and within limits",
    )
    parser.flag(
        "--zone", metavar="POINTS", type=Number("--zone", 0, 100, "--zone 0.5"),
        help="differences below it count as equal; default 0.5",
    )  # fmt: skip
    parser.flag(
        "--confidence", metavar="PERCENT", type=Number("--confidence", 50, 99.99, "--confidence 95"),
        help="of the intervals and tests; default 95",
    )  # fmt: skip


def run(arguments: Namespace) -> int:
    """Reads, compares, prints and writes what was asked for.

    Raises:
        RequestError: where nothing can be compared, saying what still can.
    """
    if not arguments.paths:
        raise RequestError("compare: name run directories or a folder of them; coldstart compare outputs")
    from coldstart_cli.comparison import best_for
    from coldstart_cli.comparison.bundles import bundle_folders
    from coldstart_cli.comparison.comparison import CONFIDENCE, ZONE, compare
    from coldstart_cli.comparison.results import read
    from coldstart_cli.files.untrusted import shaped

    if folders := bundle_folders([Path(path) for path in arguments.paths]):
        return _bundles(folders, arguments)
    if arguments.need is not None:
        best_for.parse(arguments.need)
    _check_files(arguments)
    zone = ZONE if arguments.zone is None else arguments.zone / 100
    confidence = CONFIDENCE if arguments.confidence is None else arguments.confidence / 100
    results, left_out = read([Path(path) for path in arguments.paths])
    for one in left_out:
        print(line(f"left out: {one.path}: {one.reason}"), file=sys.stderr)
    with shaped("compare", ", ".join(arguments.paths)):
        found = compare(results, left_out, confidence=confidence, zone=zone)
        _write(found, results, arguments)
        _tell(found, arguments)
    return 0


def _files(arguments: Namespace) -> dict[str, str | None]:
    """The flags that name a file of runs alone."""
    return {f"--{name}": getattr(arguments, name) for name in ("latex", "markdown", "figure", "tasks")}


def _check_files(arguments: Namespace) -> None:
    """Refuses files that cannot be written before anything is read."""
    from coldstart_cli.files.outputs import check_output

    for flag, name in {"--html": arguments.html, **_files(arguments)}.items():
        if name is not None:
            check_output(Path(name), flag)
    if arguments.figure is not None:
        from coldstart_cli.reports.paper_figure import check_kind

        check_kind(arguments.figure, "--figure")


def _write(found: Comparison, results: Sequence[Result], arguments: Namespace) -> None:
    """Writes the files that are for papers, and for a reader's own tests."""
    from coldstart_cli.comparison.task_table import csv_of_tasks
    from coldstart_cli.files.outputs import write_output
    from coldstart_cli.reports import paper_figure, paper_table

    def write(flag: str, made: Callable[[str], bytes]) -> None:
        name = _files(arguments)[flag]
        if name is not None:
            write_output(Path(name), made(name), flag)
            print(f"{flag[2:]}: {name}", file=sys.stderr)

    write("--latex", lambda name: paper_table.latex(found).encode())
    write("--markdown", lambda name: paper_table.markdown(found).encode())
    write("--figure", lambda name: paper_figure.drawn(found, paper_figure.check_kind(name, "--figure")))
    write("--tasks", lambda name: csv_of_tasks(results).encode())


def _bundles(folders: Sequence[Path], arguments: Namespace) -> int:
    """The same for bundles, of which one file has no csv and no limits.

    Raises:
        RequestError: for what is of runs alone, or where no two bundles can be compared.
    """
    from coldstart_cli.comparison.bundles import compare_bundles
    from coldstart_cli.files.outputs import check_output, write_output
    from coldstart_cli.reports import bundle_comparison
    from coldstart_cli.reports.html import held_out

    asked = {"--csv": arguments.csv, "--for": arguments.need, "--zone": arguments.zone,
             "--confidence": arguments.confidence, **_files(arguments)}  # fmt: skip
    for flag, value in asked.items():
        if value is not None and value is not False:
            raise RequestError(f"{flag}: it is of runs and these are bundles; leave it out (--json has all)")
    if arguments.html is not None:
        check_output(Path(arguments.html), "--html")
    found = compare_bundles(folders)
    for one in found.left_out:
        print(line(f"left out: {one.path}: {one.reason}"), file=sys.stderr)
    if arguments.html is not None:
        page = held_out.render(bundle_comparison.report_of(found))
        write_output(Path(arguments.html), page.encode(), "--html")
    if arguments.json:
        print(json.dumps(bundle_comparison.as_json(found), allow_nan=False))
    else:
        print(*map(printable, bundle_comparison.lines(found)), sep="\n")
    if arguments.html is not None:
        print(f"report: {arguments.html}", file=sys.stderr)
    return 0


def _tell(comparison: Comparison, arguments: Namespace) -> None:
    """Prints and writes what was asked for."""
    from coldstart_cli.comparison import best_for
    from coldstart_cli.comparison.findings import as_json
    from coldstart_cli.comparison.flat_table import csv_of
    from coldstart_cli.reports import comparison_table

    if arguments.html is not None:
        from coldstart_cli.reports.html.report import write_html

        write_html(comparison, Path(arguments.html))
    if arguments.need is not None:
        print(*map(printable, best_for.answer(comparison, arguments.need)), sep="\n")
    elif arguments.json:
        print(json.dumps(as_json(comparison), allow_nan=False))
    elif arguments.csv:
        print(csv_of(comparison), end="")
    else:
        comparison_table.show(comparison)
    if arguments.html is not None:
        print(f"report: {arguments.html}", file=sys.stderr)
