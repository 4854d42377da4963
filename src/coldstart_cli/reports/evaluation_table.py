"""A summary as a person reads it: the four cold-start evaluations in one table."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from coldstart_cli.reports.footnotes import Numbers, Row, broken, footnotes
from coldstart_cli.reports.plain_text import plain


def show(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the table of one evaluation: a column for each k."""
    console = console or Console(highlight=False, soft_wrap=False, emoji=False, width=_width())
    shots: Mapping[str, Row] = summary["shots"]
    numbers = Numbers(summary["headline"])
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for k in shots:
        table.add_column(
            f"{k}-shot" if summary["n_way"] else f"{k} point{'' if k == '1' else 's'}", justify="right"
        )
    for section, rows in _sections(summary, numbers):
        table.add_row(plain(section, "bold"), *[""] * len(shots))
        for label, cells in rows:
            table.add_row(plain(f"  {label}"), *map(plain, cells))
    console.print()
    console.print(plain(_title(summary)), style="bold", soft_wrap=True)
    console.print(table)
    console.print()
    for line in footnotes(summary, numbers):
        console.print(plain(line), soft_wrap=True)
    console.print(plain(_caveat(summary)), soft_wrap=True, style="dim")


def _width() -> int | None:
    """The terminal's; a file or a pipe takes lines as they come, where COLUMNS does not limit them."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000


def headline(summary: Mapping[str, Any]) -> str:
    """One line: the result at the first k, as a sweep's table shows it."""
    k, row = next(iter(summary["shots"].items()))
    numbers = Numbers(summary["headline"])
    gain = f", gain over baseline {numbers.signed(row['gain'])}" if "gain" in row else ""
    over = f", over budget: {', '.join(broken(summary))}" if broken(summary) else ""
    return f"k={k} {summary['headline']} {numbers.interval(row['new']['after'])}{gain}{over}"


def values(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a summary by name, as trackers list them; what was not finite is left out."""
    metric, costs = summary["headline"], summary["costs"]
    found: dict[str, float | None] = {}
    for k, row in summary["shots"].items():
        place = f"{k}-shot/"
        for part, name in (
            ("new", metric),
            ("source_test", f"source_{metric}"),
            ("baseline", f"baseline_{metric}"),
        ):
            if row.get(part):
                found[f"{place}{name}"] = row[part]["after"]["mean"]
                found[f"{place}{name}_half_width"] = row[part]["after"]["half_width"]
        found[f"{place}{metric}_before_adaptation"] = row["new"]["before"]["mean"]
        found[f"{place}adaptation_steps"] = row["new"]["step"]
        found[f"{place}adaptation_ms"] = costs["adaptation_ms"].get(k)
        for difference in ("gain", "gap"):
            if difference in row:
                found[f"{place}{difference}"] = row[difference]["mean"]
                found[f"{place}{difference}_half_width"] = row[difference]["half_width"]
    for size, times in costs["inference"].items():
        found[f"inference/p50_ms_batch_{size}"] = times["p50_ms"]
    found |= {"parameters": costs["parameters"], "flops": costs["flops"]}
    found |= {f"training/{name}": value for name, value in summary["training"].items()}
    return {name: float(v) for name, v in found.items() if v is not None and math.isfinite(v)}


def _title(summary: Mapping[str, Any]) -> str:
    names = summary["names"]
    ways = f"{summary['n_way']}-way, " if summary["n_way"] else ""
    return (
        f"{names['strategy']} ({names['model']}) on {names['dataset']}: {ways}"
        f"{summary['n_tasks']} new tasks, {100 * summary['confidence']:g} % intervals"
    )


def _sections(summary: Mapping[str, Any], numbers: Numbers) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    shots: list[Row] = list(summary["shots"].values())
    metric = f"{summary['headline']}{', %' if numbers.percent else ''}"

    def cells(name: str, field: str) -> list[str]:
        return [numbers.interval(row[name][field]) if row[name] else "-" for row in shots]

    cross = [
        ("source tasks, before adaptation", cells("source_test", "before")),
        ("source tasks, adapted", cells("source_test", "after")),
        ("new tasks, before adaptation", cells("new", "before")),
        ("new tasks, adapted", cells("new", "after")),
        ("gap from source to new", [numbers.signed(row.get("gap")) for row in shots]),
    ]
    curve = [
        (
            f"after {step} step{'' if step == '1' else 's'}",
            [numbers.interval(row["new"]["curve"][step]) for row in shots],
        )
        for step in shots[0]["new"]["curve"]
    ]
    curve += [
        ("area under the curve", [numbers.number(row["new"]["area"]) for row in shots]),
        (
            "steps to 95 % of the way",
            ["-" if (at := row["new"]["steps_to_95"]) is None else str(at) for row in shots],
        ),
        ("steps chosen by validation", [str(row["new"]["step"]) for row in shots]),
    ]
    sections = [(f"Cross-task ({metric})", cross), (f"Learning curve ({metric})", curve)]
    sections += _beside(summary, shots, numbers, metric)
    if any("gain" in row for row in shots):
        name = summary["names"]["baseline"]
        sections.append((f"Transfer performance ({metric})", _transfer(summary, shots, name, numbers)))
    return [*sections, *_calibration(summary, shots)]


def _calibration(
    summary: Mapping[str, Any], shots: list[Row]
) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Of adapted predictors on new tasks, the strategy's and the baseline's in one cell."""
    if not any(row["new"].get("calibration") for row in shots):
        return []
    roles = [name for name in ("new", "baseline") if any(name in row for row in shots)]
    who = " / ".join(summary["names"]["strategy" if role == "new" else role] for role in roles)
    measures: list[tuple[str, str, Callable[[float], str]]] = [
        ("negative log-likelihood, nats", "nll", lambda x: f"{x:.3f}" if x < 1000 else f"{x:.3g}"),
        ("expected calibration error, %", "ece", lambda x: f"{100 * x:.1f}"),
        ("Brier score", "brier", "{:.3f}".format),
        (f"coverage of its {100 * summary['coverage']:g} % sets, %", "coverage", lambda x: f"{100 * x:.1f}"),
        ("classes in such a set", "set_size", "{:.2f}".format),
    ]

    def cell(row: Row, name: str, written: Callable[[float], str]) -> str:
        missing = "∞" if name == "nll" else "-"  # not finite: it diverged
        values = [row[role]["calibration"][name] if role in row else math.nan for role in roles]
        return " / ".join(missing if v is None else "-" if math.isnan(v) else written(v) for v in values)

    rows = [(words, [cell(row, name, written) for row in shots]) for words, name, written in measures]
    return [(f"Calibration ({who})", rows)]


def _caveat(summary: Mapping[str, Any]) -> str:
    mode = "Transductive: a prediction may depend on its batch. " if summary["transductive"] else ""
    return f"{mode}One training seed ({summary['seed']}): the intervals are over tasks, conditional on it."


def _transfer(
    summary: Mapping[str, Any], shots: list[Row], name: str, numbers: Numbers
) -> list[tuple[str, list[str]]]:
    largest = list(summary["shots"])[-1]
    settings = [
        ", ".join(filter(None, [summary["variants"][k], f"{row['baseline']['step']} steps"]))
        if "baseline" in row
        else "-"
        for k, row in summary["shots"].items()
    ]
    needed = [
        "-"
        if "baseline_shots" not in row
        else f"> {largest}"
        if row["baseline_shots"] is None
        else f"{row['baseline_shots']:.3g}"
        for row in shots
    ]
    values = [numbers.interval(row["baseline"]["after"] if "baseline" in row else None) for row in shots]
    return [
        (f"{name}, the same tasks", values),
        (f"{name}'s settings, by validation", settings),
        (f"gain over {name}, paired", [numbers.signed(row.get("gain")) for row in shots]),
        (f"shots {name} needs for the same", needed),
    ]


def _beside(
    summary: Mapping[str, Any], shots: list[Row], numbers: Numbers, metric: str
) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """What the strategy gave to be scored beside its own predictor, and what it noted."""
    roles = dict.fromkeys(role for row in shots for role in row.get("beside", {}))
    notes = dict.fromkeys(name for row in shots for name in row.get("notes", {}))
    sections = []
    if roles:
        rows = [
            (
                role,
                [
                    numbers.interval(row["beside"][role]["after"]) if role in row["beside"] else "-"
                    for row in shots
                ],
            )
            for role in roles
        ]
        sections.append((f"Beside it, on the same tasks ({metric})", rows))
    if notes:
        rows = [(name, [_note(row["notes"].get(name)) for row in shots]) for name in notes]
        sections.append(("Noted by the strategy (mean over new tasks, before → after)", rows))
    return sections


def _note(values: list[float | None] | None) -> str:
    if values is None:
        return "-"
    known = [f"{value:.3g}" for value in values if value is not None]
    return " → ".join(dict.fromkeys(known)) or "-"
