"""`coldstart compare` and `coldstart diff`: run directories beside one another.

Neither Hydra nor torch is imported: the answer comes in a second.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coldstart_cli import comparison_report, need
from coldstart_cli.comparison import compare
from coldstart_cli.errors import RequestError, line, printable, suggestion
from coldstart_cli.files import csv_text, flat, read_json
from coldstart_cli.foreign import shaped
from coldstart_cli.results import LeftOut, Result, read
from coldstart_cli.runs import Run

VALUED = ("--html", "--for", "--zone", "--confidence")
SWITCHES = ("--json", "--csv", "--debug")


@dataclass(slots=True)
class Request:
    """What was asked on the command line."""

    paths: list[Path] = field(default_factory=list)
    html: Path | None = None
    need: str | None = None
    zone: float = 0.5
    confidence: float = 95.0
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
        _tell(comparison_of(results, left_out, request), request)
    return 0


def _tell(comparison: dict[str, Any], request: Request) -> None:
    """Prints and writes what was asked for."""
    if request.html is not None:
        from coldstart_cli.html_report import write_html

        write_html(comparison, request.html)
    if request.need is not None:
        print(*map(printable, need.answer(comparison, request.need)), sep="\n")
    elif request.form == "json":
        print(json.dumps(comparison, allow_nan=False))
    elif request.form == "csv":
        print(csv_of(comparison), end="")
    else:
        comparison_report.show(comparison)
    if request.html is not None:
        print(f"report: {request.html}", file=sys.stderr)


def comparison_of(results: Sequence[Result], left_out: Sequence[LeftOut], request: Request) -> dict[str, Any]:
    """
    Raises:
        RequestError: where the results have different objectives, saying what can be compared.
    """
    try:
        return compare(results, left_out, confidence=request.confidence / 100, zone=request.zone / 100)
    except ValueError as error:
        raise RequestError(
            f"compare: these runs have different objectives ({error}); compare those of one at a time"
        ) from error


def csv_of(comparison: Mapping[str, Any]) -> str:
    """The flat table as CSV."""
    return csv_text(rows(comparison))


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
        need.parse(value)
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


def rows(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The comparison as a flat table: a row for each setting, k and contestant."""
    found = []
    for setting in comparison["settings"]:
        contestants = {c["name"]: c for c in setting["contestants"]}
        for k, shot in setting["shots"].items():
            for name, result in shot["results"].items():
                contestant = contestants[name]
                costs, gain = contestant["costs"] or {}, result["gain"] or {}
                timing = costs.get("inference", {}).get("1", {})
                found.append(
                    {
                        "setting": setting["title"],
                        "metric": setting["headline"],
                        "k": int(k),
                        "contestant": name,
                        "strategy": contestant["strategy"],
                        "model": contestant["model"],
                        "seeds": len(contestant["seeds"]),
                        "tasks": shot["n_tasks"],
                        "mean": result["mean"],
                        "half_width": result["half_width"],
                        "rank": result["rank"],
                        "winner": name in shot["winners"],
                        "gain": gain.get("mean"),
                        "gain_half_width": gain.get("half_width"),
                        "adaptation_ms": (costs.get("adaptation_ms") or {}).get(k),
                        "p50_ms": timing.get("p50_ms"),
                        "p95_ms": timing.get("p95_ms"),
                        "parameters": costs.get("parameters"),
                        "bank": shot["bank"],
                    }
                )
    return found


def diff(arguments: Sequence[str]) -> int:
    """`coldstart diff RUN RUN [--json]`: where two configurations, environments and budgets differ.

    Raises:
        RequestError: unless two runs are named.
    """
    paths = [Path(a) for a in arguments if not a.startswith("-")]
    unknown = [a for a in arguments if a.startswith("-") and a not in ("--json", "--debug")]
    if unknown:
        raise RequestError(f"{unknown[0]}: there is no such flag; {suggestion(unknown[0], ['--json'])}")
    if len(paths) != 2:
        raise RequestError(f"diff: takes two run directories, not {len(paths)}; coldstart diff RUN RUN")
    with shaped("diff", f"{paths[0]} or {paths[1]}"):
        sides = [_facts(path) for path in paths]
    keys = dict.fromkeys(key for side in sides for key in side)
    missing = "(absent)"
    found = {
        key: [side.get(key, missing) for side in sides]
        for key in keys
        if sides[0].get(key, missing) != sides[1].get(key, missing)
    }
    if "--json" in arguments:
        print(json.dumps({"runs": [str(path) for path in paths], "differs": found}))
    else:
        comparison_report.show_difference([str(path) for path in paths], found)
    return 0


def _facts(path: Path) -> dict[str, Any]:
    """Flat keys: the config as it is, then what the run met and spent."""
    run = Run(path)
    state = run.state
    environment = read_json(path / "environment.json", "diff")
    environment.pop("command_line", None)
    kept: dict[str, Any] = {key: state[key] for key in ("state", "steps", "best_step") if key in state}
    return {**flat(run.config), **flat(environment, "environment."), **flat(kept, "run.")}
