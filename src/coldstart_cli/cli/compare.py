"""`coldstart compare`: run directories beside one another.

Neither Hydra nor torch is imported: the answer comes in a second.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coldstart_cli.comparison import best_for
from coldstart_cli.comparison.comparison import CONFIDENCE, ZONE, compare, csv_of
from coldstart_cli.comparison.results import read
from coldstart_cli.errors import RequestError, line, suggestion
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.reports import comparison_table
from coldstart_cli.safe_text import printable

VALUED = ("--html", "--for", "--zone", "--confidence")
SWITCHES = ("--json", "--csv", "--debug")


@dataclass(slots=True)
class Request:
    """What was asked on the command line."""

    paths: list[Path] = field(default_factory=list)
    html: Path | None = None
    need: str | None = None
    zone: float = ZONE * 100
    confidence: float = CONFIDENCE * 100
    form: str = "table"


def main(arguments: Sequence[str]) -> int:
    """
    Raises:
        RequestError: where nothing can be compared, saying what still can.
    """
    request = parse(arguments)
    results, left_out = read(request.paths)
    for run in left_out:
        print(line(f"left out: {run.path}: {run.reason}"), file=sys.stderr)
    with shaped("compare", ", ".join(map(str, request.paths))):
        found = compare(results, left_out, confidence=request.confidence / 100, zone=request.zone / 100)
        _tell(found, request)
    return 0


def _tell(comparison: dict[str, Any], request: Request) -> None:
    """Prints and writes what was asked for."""
    if request.html is not None:
        from coldstart_cli.reports.html.report import write_html

        write_html(comparison, request.html)
    if request.need is not None:
        print(*map(printable, best_for.answer(comparison, request.need)), sep="\n")
    elif request.form == "json":
        print(json.dumps(comparison, allow_nan=False))
    elif request.form == "csv":
        print(csv_of(comparison), end="")
    else:
        comparison_table.show(comparison)
    if request.html is not None:
        print(f"report: {request.html}", file=sys.stderr)


def parse(arguments: Sequence[str]) -> Request:
    """
    Raises:
        RequestError: for a flag or a value that is none, and without a path.
    """
    request = Request()
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in VALUED:
            value = value if equals else next(rest, "")
            if not value:
                raise RequestError(f"{name}: needs a value; see coldstart --help")
            _set(request, name, value)
        elif argument in SWITCHES:
            request.form = argument.removeprefix("--") if argument != "--debug" else request.form
        elif argument.startswith("-"):
            known = [*VALUED, *SWITCHES]
            raise RequestError(f"{argument}: there is no such flag; {suggestion(argument, known)}")
        else:
            request.paths.append(Path(argument))
    if not request.paths:
        raise RequestError("compare: name run directories or a folder of them; coldstart compare outputs")
    return request


def _set(request: Request, name: str, value: str) -> None:
    if name == "--html":
        request.html = Path(value)
    elif name == "--for":
        best_for.parse(value)
        request.need = value
    else:
        low, high = (0.0, 100.0) if name == "--zone" else (50.0, 99.99)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise RequestError(f"{name}: {value} is not between {low:g} and {high:g} (percent, points)"
                               f"; write {name} {'0.5' if name == '--zone' else '95'}")  # fmt: skip
        setattr(request, name.removeprefix("--"), number)
