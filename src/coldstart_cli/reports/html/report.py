"""A comparison as one HTML file, for a browser without a network.

The tables are in the file and need no script. The charts are drawn by the file's own script from JSON; text
enters the page as text only. The file's content security policy names script and style by their hashes and
allows nothing else, so that no name in a comparison can run or load anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coldstart_cli.comparison.findings import AtK, Comparison, Setting
from coldstart_cli.comparison.verdict import star_means
from coldstart_cli.files.outputs import check_output, write_output
from coldstart_cli.metrics.numbers import percent
from coldstart_cli.reports.comparison_table import numbers_of
from coldstart_cli.reports.html import chart_data, run_tables, tables
from coldstart_cli.reports.html.page import rendered, teller
from coldstart_cli.reports.html.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What the template shows of one setting; attributes that are a `Table` or None are left out where None.

    Attributes:
        name: a title that tells the setting from all others.
        shot: what k counts.
        best: what its mark means.
        zone: of equivalence, in words.
        hardware: in words.
    """

    index: int
    name: str
    heading: str
    sentences: Sequence[str]
    tasks: Mapping[int, Sequence[str]]
    shots: Mapping[int, AtK]
    percent: bool
    n_tasks: str
    metric: str
    higher: bool
    shot: str
    best: str
    zone: str
    results: Table
    curves: Table
    transfer: Table
    metrics: Table | None
    calibration: Table | None
    hardware: str
    costs: Table | None
    pairs: Table | None
    similarity: Table | None


def write_html(comparison: Comparison, path: Path) -> None:
    """Writes the report whole or not at all.

    Raises:
        RequestError: if `path` is a folder, lies in none, is read-only, or cannot be written.
    """
    check_output(path, "--html")
    write_output(path, render(comparison).encode(), "--html")


def render(comparison: Comparison) -> str:
    """The report of a comparison; the same comparison gives the same text."""
    known = chart_data.visible(comparison)
    names = _names(known)
    contestants, runs = run_tables.settings(known)
    return rendered(
        "report.html",
        kind="comparison",
        title=_title([setting.title for setting in known.settings]),
        sentences=known.sentences,
        notes=known.notes,
        left_out=[(one.path, one.reason) for one in known.left_out],
        of_which="run",
        told=teller(_capitalised_as_they_are(known)),
        drawn=chart_data.drawn(known),
        comparison=known,
        percent=percent,
        settings=[_section(i, name, known.settings) for i, name in enumerate(names)],
        contestants=contestants,
        runs=runs,
        environments=[table for table in run_tables.environments(known) if table],
        budgets=[tables.budgets(one, name) for one, name in zip(known.settings, names, strict=True)],
    )


def _title(titles: Sequence[str]) -> str:
    if not titles:
        return "Nothing to compare"
    different = list(dict.fromkeys(titles))
    return "; ".join(different) if len(different) < 4 else f"{len(titles)} settings"


def _names(comparison: Comparison) -> list[str]:
    """A title for each setting that tells it from the others: with its k where titles are the same."""
    titles = [setting.title for setting in comparison.settings]
    return [
        title if titles.count(title) == 1 else f"{title}, k = {', '.join(map(str, setting.shots))}"
        for title, setting in zip(titles, comparison.settings, strict=True)
    ]


def _capitalised_as_they_are(comparison: Comparison) -> list[str]:
    """Names that may begin a sentence."""
    return [
        name
        for setting in comparison.settings
        for name in (setting.title, *(contestant.name for contestant in setting.contestants))
    ]


def _section(index: int, name: str, settings: Sequence[Setting]) -> Section:
    setting = settings[index]
    metric = setting.headline
    return Section(
        index=index,
        name=name,
        heading=name if len(settings) > 1 else "Results",
        sentences=setting.sentences,
        tasks=setting.tasks,
        shots=setting.shots,
        percent=setting.percent,
        n_tasks=_n_tasks(setting),
        metric=metric.upper() if len(metric) <= 4 else metric[:1].upper() + metric[1:],
        higher=setting.higher_is_better,
        shot="labelled examples of each class" if setting.n_way else "labelled examples",
        best=star_means(setting),
        zone=numbers_of(setting).zone(*(at.zone for at in setting.shots.values())),
        results=tables.results(setting),
        curves=tables.curves(setting),
        transfer=tables.transfer(setting),
        metrics=tables.metrics(setting),
        calibration=tables.calibrations(setting),
        hardware=tables.hardware(setting),
        costs=tables.costs(setting) if chart_data.costs(setting) else None,
        pairs=tables.pairs(setting) if len(setting.contestants) > 1 else None,
        similarity=tables.similarity(setting) if setting.similarity else None,
    )


def _n_tasks(setting: Setting) -> str:
    numbers = {k: at.n_tasks for k, at in setting.shots.items()}
    if len(set(numbers.values())) == 1:
        return f"{next(iter(numbers.values())):,} tasks at {'each k' if len(numbers) > 1 else 'one k'}"
    return ", ".join(f"{n:,} tasks at k = {k}" for k, n in numbers.items()) or "no tasks"
