"""A summary as a person reads it: the four cold-start evaluations in one table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Row = Mapping[str, Any]


def show(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the table of one evaluation: a column for each k."""
    console = console or Console(highlight=False, soft_wrap=False, emoji=False)
    shots: Mapping[str, Row] = summary["shots"]
    numbers = _Numbers(summary["headline"])
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for k in shots:
        table.add_column(
            f"{k}-shot" if summary["n_way"] else f"{k} point{'' if k == '1' else 's'}", justify="right"
        )
    for section, rows in _sections(summary, numbers):
        table.add_row(f"[bold]{section}[/bold]", *[""] * len(shots))
        for label, cells in rows:
            table.add_row(f"  {escape(label)}", *map(escape, cells))
    console.print()
    console.print(escape(_title(summary)), style="bold", soft_wrap=True)
    console.print(table)
    console.print()
    for line in (*_similarity(summary, numbers), *_costs(summary)):
        console.print(escape(line), soft_wrap=True)
    console.print(escape(_caveat(summary)), soft_wrap=True, style="dim")


def headline(summary: Mapping[str, Any]) -> str:
    """One line: the result at the first k, as a sweep's table shows it."""
    k, row = next(iter(summary["shots"].items()))
    numbers = _Numbers(summary["headline"])
    gain = f", gain over baseline {numbers.signed(row['gain'])}" if "gain" in row else ""
    return f"k={k} {summary['headline']} {numbers.interval(row['new']['after'])}{gain}"


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


class _Numbers:
    """Accuracy in percent, errors as they are."""

    def __init__(self, metric: str) -> None:
        self.percent = metric == "accuracy"
        self.unit = "%" if self.percent else ""

    def number(self, value: float | None) -> str:
        if value is None:  # not finite: it diverged
            return "∞"
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"

    def interval(self, row: Row | None) -> str:
        if row is None:
            return "-"
        return f"{self.number(row['mean'])} ± {self.number(row['half_width'])}"

    def signed(self, row: Row | None) -> str:
        if row is None:
            return "-"
        return f"{'' if row['mean'] is None or row['mean'] < 0 else '+'}{self.interval(row)}"


def _title(summary: Mapping[str, Any]) -> str:
    names = summary["names"]
    ways = f"{summary['n_way']}-way, " if summary["n_way"] else ""
    return (
        f"{names['strategy']} ({names['model']}) on {names['dataset']}: {ways}"
        f"{summary['n_tasks']} new tasks, {100 * summary['confidence']:g} % intervals"
    )


def _sections(summary: Mapping[str, Any], numbers: _Numbers) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    shots: list[Row] = list(summary["shots"].values())
    metric = f"{summary['headline']}{', %' if numbers.percent else ''}"

    def cells(name: str, field: str) -> list[str]:
        return [numbers.interval(row[name][field]) if row[name] else "-" for row in shots]

    cross = [
        ("source tasks, held-out examples", cells("source_test", "after")),
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
        ("steps to 95 % of the way", [str(row["new"]["steps_to_95"]) for row in shots]),
        ("steps chosen by validation", [str(row["new"]["step"]) for row in shots]),
    ]
    sections = [(f"Cross-task ({metric})", cross), (f"Learning curve ({metric})", curve)]
    sections += _beside(summary, shots, numbers, metric)
    if any("gain" in row for row in shots):
        name = summary["names"]["baseline"]
        sections.append((f"Transfer performance ({metric})", _transfer(summary, shots, name, numbers)))
    return sections


def _transfer(
    summary: Mapping[str, Any], shots: list[Row], name: str, numbers: _Numbers
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
    summary: Mapping[str, Any], shots: list[Row], numbers: _Numbers, metric: str
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


def _similarity(summary: Mapping[str, Any], numbers: _Numbers) -> list[str]:
    """A similarity is never shown without what it was worth here."""
    lines = []
    for k, row in summary["shots"].items():
        if not any(name.startswith("similarity of ") for name in row.get("notes", {})):
            continue
        check = row["similarity"]
        if check is None:
            lines.append(
                f"Similarity at k={k}: its use is not known; a baseline and two source groups would tell"
            )
            continue
        lines.append(
            f"Similarity at k={k}: rank correlation with the real gain {check['rho']:+.2f} "
            f"(p = {_known(check['p'], '.2g')}, {check['pairs']} pairs of source group and new task), within "
            f"a task {_known(check['within_task_rho'], '+.2f')}; taking the most similar group loses "
            f"{numbers.number(check['regret'])} against the best"
        )
    return [*lines, ""] if lines else []


def _known(value: float | None, form: str) -> str:
    return "not known" if value is None or math.isnan(value) else format(value, form)


def _costs(summary: Mapping[str, Any]) -> list[str]:
    costs, hardware = summary["costs"], summary["hardware"]
    lines = [f"Inference time ({hardware['device']}: {hardware['name']}, {hardware['threads']} threads)"]
    lines += [
        f"  batch {size:>3}: p50 {t['p50_ms']:.2f} ms, p95 {t['p95_ms']:.2f} ms"
        for size, t in costs["inference"].items()
    ]
    for role, other in costs.get("beside", {}).items():
        times = [
            f"{t['p50_ms']:.2f} ms at batch {size} ({t['p50_ms'] / costs['inference'][size]['p50_ms']:.1f}x)"
            for size, t in other["inference"].items()
        ]
        lines.append(
            f"  {role}: p50 {', '.join(times)}; {other['parameters']:,} parameters "
            f"({other['parameters'] / costs['parameters']:.1f}x), {_scaled(other['flops'])}FLOP"
        )
    adapting = ", ".join(f"{ms:.1f} ms at k={k}" for k, ms in costs["adaptation_ms"].items())
    training = summary["training"]
    lines += [
        f"  adaptation to one task: {adapting}",
        f"  {costs['parameters']:,} parameters, {_scaled(costs['flops'])}FLOP for one input "
        f"(a multiply-add is 2), peak memory {costs['peak_memory'] / 2**20:.0f} MiB",
        f"Training: {training['steps']:,} steps in {training['seconds']:.1f} s"
        + (f", best state after {training['best_step']:,}" if training["best_step"] else ""),
    ]
    return lines


def _caveat(summary: Mapping[str, Any]) -> str:
    mode = "Transductive: a prediction may depend on its batch. " if summary["transductive"] else ""
    return f"{mode}One training seed ({summary['seed']}): the intervals are over tasks, conditional on it."


def _scaled(value: float) -> str:
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size and math.isfinite(value):
            return f"{value / size:.1f} {prefix}"
    return f"{value:g} "
