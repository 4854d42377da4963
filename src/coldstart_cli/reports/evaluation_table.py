"""A summary as a person reads it: the four cold-start evaluations in one table."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from coldstart_cli.metrics.numbers import (
    UNKNOWN,
    Numbers,
    calibration,
    is_known,
    metric_title,
    percent,
    significant,
)
from coldstart_cli.metrics.results import Interval, Outcome, Shot, Summary
from coldstart_cli.reports.footnotes import footnotes, numbers_of
from coldstart_cli.reports.plain_text import plain

Line = tuple[str, list[str]]
"""A label, and a cell for each k."""
Section = tuple[str, list[Line]]


def show(summary: Summary, console: Console | None = None) -> None:
    """Prints the table of one evaluation: a column for each k."""
    console = console or Console(highlight=False, soft_wrap=False, emoji=False, width=_width())
    numbers = numbers_of(summary)
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for k in summary.shots:
        table.add_column(
            f"{k}-shot" if summary.n_way else f"{k} point{'' if k == 1 else 's'}", justify="right"
        )
    for section, rows in _sections(summary, numbers):
        table.add_row(plain(section, "bold"), *[""] * len(summary.shots))
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


def headline(summary: Summary) -> str:
    """One line: the result at the first k, as a sweep's table shows it."""
    k, shot = next(iter(summary.shots.items()))
    numbers = numbers_of(summary)
    gain = f", gain over baseline {numbers.interval(shot.gain, signed=True)}" if shot.gain else ""
    over = f", over budget: {', '.join(summary.broken)}" if summary.broken else ""
    return f"k={k} {summary.headline} {numbers.interval(shot.new.after)}{gain}{over}"


def values(summary: Summary) -> dict[str, float]:
    """The numbers of a summary by name, as trackers list them; what was not finite is left out."""
    metric, costs = summary.headline, summary.costs
    found: dict[str, float | None] = {}

    def add(name: str, interval: Interval) -> None:
        found[name], found[f"{name}_half_width"] = interval.mean, interval.half_width

    # Names with slashes: trackers group their charts by what stands before one.
    for k, shot in summary.shots.items():
        place = f"{k}-shot/"
        for role, of in (("", shot.new), ("source_", shot.source_test), ("baseline_", shot.baseline)):
            for name, after in _metrics(of, metric).items():
                add(f"{place}{role}{name}", after)
        found[f"{place}{metric}_before_adaptation"] = shot.new.before.mean
        for name, before in shot.new.metrics_before.items():
            found[f"{place}{name}_before_adaptation"] = before.mean
        found[f"{place}adaptation_steps"] = shot.new.step
        found[f"{place}adaptation_ms"] = costs.adaptation_ms.get(k)
        for name, difference in (("gain", shot.gain), ("gap", shot.gap)):
            if difference is not None:
                add(f"{place}{name}", difference)
    for size, times in costs.inference.items():
        found[f"inference/p50_ms_batch_{size}"] = times.p50_ms
    found |= {"parameters": costs.parameters, "flops": costs.flops}
    found |= {f"training/{name}": value for name, value in asdict(summary.training).items()}
    return {name: float(v) for name, v in found.items() if v is not None and math.isfinite(v)}


def _metrics(outcome: Outcome | None, headline: str) -> dict[str, Interval]:
    """All metrics after adaptation; none of a role that was not there."""
    return {} if outcome is None else {headline: outcome.after, **outcome.metrics}


def _title(summary: Summary) -> str:
    names = summary.names
    ways = f"{summary.n_way}-way, " if summary.n_way else ""
    return (
        f"{names.strategy} ({names.model}) on {names.dataset}: {ways}"
        f"{summary.n_tasks} new tasks{summary.of_origins}, {percent(summary.confidence)} % intervals"
    )


def _sections(summary: Summary, numbers: Numbers) -> list[Section]:
    shots = list(summary.shots.values())
    metric = f"{summary.headline}{', %' if numbers.percent else ''}"
    sections = [
        (f"Cross-task ({metric})", _cross_task(shots, numbers)),
        (f"Learning curve ({metric})", _learning_curve(shots, numbers)),
        *_beside(shots, numbers, metric),
    ]
    if any(shot.gain for shot in shots):
        sections.append((f"Transfer performance ({metric})", _transfer(summary, numbers)))
    return [*sections, *_other_metrics(summary, shots), *_calibration(summary, shots)]


def _cross_task(shots: Sequence[Shot], numbers: Numbers) -> list[Line]:
    sources, new = [shot.source_test for shot in shots], [shot.new for shot in shots]
    return [
        ("source tasks, before adaptation", [numbers.interval(of and of.before) for of in sources]),
        ("source tasks, adapted", [numbers.interval(of and of.after) for of in sources]),
        ("new tasks, before adaptation", [numbers.interval(of.before) for of in new]),
        ("new tasks, adapted", [numbers.interval(of.after) for of in new]),
        ("gap from source to new", [numbers.interval(shot.gap, signed=True) for shot in shots]),
    ]


def _learning_curve(shots: Sequence[Shot], numbers: Numbers) -> list[Line]:
    new = [shot.new for shot in shots]
    return [
        *(
            (f"after {step} step{'' if step == 1 else 's'}", [numbers.interval(of.curve[step]) for of in new])
            for step in new[0].curve
        ),
        ("area under the curve", [numbers.value(of.area) for of in new]),
        (
            "steps to 95 % of the way",
            [significant(of.steps_to_95) for of in new],
        ),
        *_chosen(new),
    ]


def _chosen(new: Sequence[Outcome]) -> list[Line]:
    """The steps that the table's results are of; of several choices the commonest and the range."""
    if not any(of.chosen_by_tasks for of in new):
        return [("steps chosen by validation", [str(of.step) for of in new])]

    def cell(of: Outcome) -> str:
        counts = of.chosen_by_tasks or {of.step: 1}
        ends = [min(counts), max(counts)]
        return str(of.step) if len(counts) == 1 else f"{of.step} ({ends[0]} to {ends[1]})"

    return [("steps chosen by each task for itself", [cell(of) for of in new])]


def _other_metrics(summary: Summary, shots: Sequence[Shot]) -> list[Section]:
    """A row for each: where classes are equally large, balanced accuracy only says accuracy again."""
    rows = []
    for name in dict.fromkeys(name for shot in shots for name in shot.new.metrics):
        found = [shot.new.metrics.get(name) for shot in shots]
        numbers = Numbers.of(summary.units.get(name) == "%", [one and one.half_width for one in found])
        cells = [numbers.interval(one) for one in found]
        rows.append((metric_title(name, summary.units.get(name)), cells))
    return [("Other metrics (new tasks, adapted)", rows)] if rows else []


def _calibration(summary: Summary, shots: Sequence[Shot]) -> list[Section]:
    """Of adapted predictors on new tasks, the strategy's and the baseline's in one cell."""
    if not any(shot.new.calibration for shot in shots):
        return []
    who, outcomes = summary.names.strategy, [[shot.new, shot.baseline] for shot in shots]
    if any(shot.baseline for shot in shots):
        who = f"{who} / {summary.names.baseline}"
    else:
        outcomes = [of[:1] for of in outcomes]
    measures = {
        "nll": "negative log-likelihood, nats",
        "ece": "expected calibration error, %",
        "brier": "Brier score",
        "coverage": f"coverage of its {percent(summary.coverage)} % sets, %",
        "set_size": "classes in such a set",
    }

    def cell(outcome: Outcome | None, name: str) -> str:
        if outcome is None or outcome.calibration is None:
            return UNKNOWN
        value: float = getattr(outcome.calibration, name)
        return "∞" if name == "nll" and not is_known(value) else calibration(name, value)  # it diverged

    rows = [
        (words, [" / ".join(cell(of, name) for of in k) for k in outcomes])
        for name, words in measures.items()
    ]
    return [(f"Calibration ({who})", rows)]


def _caveat(summary: Summary) -> str:
    mode = "Transductive: a prediction may depend on its batch. " if summary.transductive else ""
    origins = summary.origins
    if origins is None:
        over = "the intervals are over tasks, conditional on it."
    elif origins == 1:
        over = "the intervals are over tasks of one origin, conditional on both: they say nothing of others."
    else:
        over = f"the intervals are over the {origins} origins of the tasks, conditional on it."
    return f"{mode}One training seed ({summary.seed}): {over}"


def _transfer(summary: Summary, numbers: Numbers) -> list[Line]:
    name, shots = summary.names.baseline, summary.shots
    largest = list(shots)[-1]

    def settings(k: int, of: Outcome | None) -> str:
        return "-" if of is None else ", ".join(filter(None, [summary.variants[k], f"{of.step} steps"]))

    def needed(reached: float | None) -> str:
        if reached is None:
            return UNKNOWN
        return significant(reached) if is_known(reached) else f"> {largest}"

    after = [numbers.interval(shot.baseline and shot.baseline.after) for shot in shots.values()]
    return [
        (f"{name}, the same tasks", after),
        (f"{name}'s settings, by validation", [settings(k, shot.baseline) for k, shot in shots.items()]),
        (f"gain over {name}, paired", [numbers.interval(shot.gain, signed=True) for shot in shots.values()]),
        (f"shots {name} needs for the same", [needed(shot.baseline_shots) for shot in shots.values()]),
    ]


def _beside(shots: Sequence[Shot], numbers: Numbers, metric: str) -> list[Section]:
    """What the strategy gave to be scored beside its own predictor, and what it noted."""
    roles = dict.fromkeys(role for shot in shots for role in shot.beside)
    notes = dict.fromkeys(name for shot in shots for name in shot.notes)
    sections = []
    if roles:
        others = {role: [shot.beside.get(role) for shot in shots] for role in roles}
        rows = [(role, [numbers.interval(of and of.after) for of in found]) for role, found in others.items()]
        sections.append((f"Beside it, on the same tasks ({metric})", rows))
    cut = dict.fromkeys(name for shot in shots for name in shot.ablations or ())
    if cut:
        known = {name: [(shot.ablations or {}).get(name) for shot in shots] for name in cut}
        rows = [(name, [numbers.interval(of, signed=True) for of in found]) for name, found in known.items()]
        sections.append((f"Ablations, against itself, paired ({metric})", rows))
    if notes:
        rows = [(name, [_note(shot.notes.get(name)) for shot in shots]) for name in notes]
        sections.append(("Noted by the strategy (mean over new tasks, before → after)", rows))
    return sections


def _note(values: Sequence[float | None] | None) -> str:
    if values is None:
        return UNKNOWN
    known = [significant(value) for value in values if value is not None]
    return " → ".join(dict.fromkeys(known)) or UNKNOWN
