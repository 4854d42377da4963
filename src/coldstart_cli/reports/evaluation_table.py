"""A summary as a person reads it: the four cold-start evaluations in one table."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape as without_markup
from rich.table import Table

from coldstart_cli.errors import printable
from coldstart_cli.metrics.numbers import UNKNOWN, Numbers, calibration, percent, significant
from coldstart_cli.reports.footnotes import Row, broken, estimate, footnotes, numbers_of


def escape(text: str) -> str:
    """Text as it is: no markup, and nothing that a terminal would obey."""
    return without_markup(printable(text))


def show(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the table of one evaluation: a column for each k."""
    console = console or Console(highlight=False, soft_wrap=False, emoji=False, width=_width())
    shots: Mapping[str, Row] = summary["shots"]
    numbers = numbers_of(summary)
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for k in shots:
        table.add_column(
            f"{k}-shot" if summary["n_way"] else f"{k} point{'' if k == '1' else 's'}", justify="right"
        )
    for section, rows in _sections(summary, numbers):
        table.add_row(f"[bold]{escape(section)}[/bold]", *[""] * len(shots))
        for label, cells in rows:
            table.add_row(f"  {escape(label)}", *map(escape, cells))
    console.print()
    console.print(escape(_title(summary)), style="bold", soft_wrap=True)
    console.print(table)
    console.print()
    for line in footnotes(summary, numbers):
        console.print(escape(line), soft_wrap=True)
    console.print(escape(_caveat(summary)), soft_wrap=True, style="dim")


def _width() -> int | None:
    """The terminal's; a file or a pipe takes lines as they come, where COLUMNS does not limit them."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000


def headline(summary: Mapping[str, Any]) -> str:
    """One line: the result at the first k, as a sweep's table shows it."""
    k, row = next(iter(summary["shots"].items()))
    numbers = numbers_of(summary)
    gain = (
        f", gain over baseline {numbers.interval(estimate(row['gain']), signed=True)}"
        if "gain" in row
        else ""
    )
    over = f", over budget: {', '.join(broken(summary))}" if broken(summary) else ""
    return f"k={k} {summary['headline']} {numbers.interval(estimate(row['new']['after']))}{gain}{over}"


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
        f"{summary['n_tasks']} new tasks, {percent(summary['confidence'])} % intervals"
    )


def _sections(summary: Mapping[str, Any], numbers: Numbers) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    shots: list[Row] = list(summary["shots"].values())
    metric = f"{summary['headline']}{', %' if numbers.percent else ''}"

    def cells(name: str, field: str) -> list[str]:
        return [numbers.interval(estimate(row[name][field] if row[name] else None)) for row in shots]

    cross = [
        ("source tasks, before adaptation", cells("source_test", "before")),
        ("source tasks, adapted", cells("source_test", "after")),
        ("new tasks, before adaptation", cells("new", "before")),
        ("new tasks, adapted", cells("new", "after")),
        (
            "gap from source to new",
            [numbers.interval(estimate(row.get("gap")), signed=True) for row in shots],
        ),
    ]
    curve = [
        (
            f"after {step} step{'' if step == '1' else 's'}",
            [numbers.interval(estimate(row["new"]["curve"][step])) for row in shots],
        )
        for step in shots[0]["new"]["curve"]
    ]
    curve += [
        ("area under the curve", [numbers.value(row["new"]["area"]) for row in shots]),
        ("steps to 95 % of the way", [significant(row["new"]["steps_to_95"]) for row in shots]),
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
    measures = {
        "nll": "negative log-likelihood, nats",
        "ece": "expected calibration error, %",
        "brier": "Brier score",
        "coverage": f"coverage of its {percent(summary['coverage'])} % sets, %",
        "set_size": "classes in such a set",
    }

    def cell(row: Row, name: str) -> str:
        values = [row[role]["calibration"][name] if role in row else math.nan for role in roles]
        infinite = name == "nll"  # None is what was not finite: it diverged
        return " / ".join("∞" if v is None and infinite else calibration(name, v) for v in values)

    rows = [(words, [cell(row, name) for row in shots]) for name, words in measures.items()]
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
        UNKNOWN
        if "baseline_shots" not in row
        else f"> {largest}"
        if row["baseline_shots"] is None
        else significant(row["baseline_shots"])
        for row in shots
    ]
    values = [
        numbers.interval(estimate(row["baseline"]["after"] if "baseline" in row else None)) for row in shots
    ]
    return [
        (f"{name}, the same tasks", values),
        (f"{name}'s settings, by validation", settings),
        (
            f"gain over {name}, paired",
            [numbers.interval(estimate(row.get("gain")), signed=True) for row in shots],
        ),
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
                    numbers.interval(
                        estimate(row["beside"][role]["after"] if role in row["beside"] else None)
                    )
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
        return UNKNOWN
    known = [significant(value) for value in values if value is not None]
    return " → ".join(dict.fromkeys(known)) or UNKNOWN
