"""A comparison as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from coldstart_cli.comparison.budgets import QUANTITIES
from coldstart_cli.comparison.findings import Comparison, Costs, Setting, Training
from coldstart_cli.comparison.verdict import star_means, starred
from coldstart_cli.metrics.budgets import BATCH
from coldstart_cli.metrics.numbers import (
    UNKNOWN,
    Numbers,
    correlation,
    duration,
    metric_title,
    percent,
    scaled,
)
from coldstart_cli.reports.plain_text import plain, terminal


def numbers_of(setting: Setting) -> Numbers:
    """The writer of a setting's metric."""
    # All k share one number of decimals, so that the columns of a table can be read against one another.
    widths = [standing.half_width for at in setting.shots.values() for standing in at.results.values()]
    return Numbers.of(setting.percent, widths)


def show(comparison: Comparison, console: Console | None = None) -> None:
    """Prints the verdict, the tables of each setting, and what a reader must know."""
    console = console or terminal()
    console.print()
    for sentence in comparison.sentences:
        console.print(plain(_capital(sentence) + "."), style="bold", soft_wrap=True)
    for setting in comparison.settings:
        if not setting.shots:
            continue
        console.print()
        console.print(plain(_title(setting, comparison.confidence)), style="bold", soft_wrap=True)
        console.print(_accuracy(setting))
        mark = f"* {means}. " if (means := star_means(setting)) else ""
        console.print(f"[dim]{mark}Contestants of one rank are beaten by equally many[/dim]", soft_wrap=True)
        if others := setting.other_metrics:
            console.print()
            console.print(_others(setting, others))
        console.print()
        console.print(_costs(setting))
        console.print()
        console.print(_budgets(setting))
        for line in _similarity(setting):
            console.print(plain(line), soft_wrap=True)
    console.print()
    for note in comparison.notes:
        console.print(plain(_capital(note) + "."), style="dim", soft_wrap=True)


def show_difference(
    runs: Sequence[str], found: Mapping[str, Sequence[object]], console: Console | None = None
) -> None:
    """Prints where two runs differ, a line for each key."""
    console = console or terminal()
    if not found:
        console.print("no difference: the same configuration, environment and budget")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for run in runs:
        table.add_column(plain(run), overflow="fold")
    for key, values in found.items():
        table.add_row(plain(key), *(plain(str(value)) for value in values))
    console.print(table)


def _title(setting: Setting, confidence: float) -> str:
    unit = ", %" if setting.percent else ""
    tasks = sorted({at.n_tasks for at in setting.shots.values()})
    return (
        f"{setting.title}: {setting.headline}{unit} on {' to '.join(map(str, tasks))} new tasks"
        f"{_of_origins(setting)}, {percent(confidence)} % intervals, rank"
    )


def _of_origins(setting: Setting) -> str:
    """` of 5 origins`, which intervals and tests are over; of one, that they say nothing of others."""
    known = [at.n_origins for at in setting.shots.values() if at.n_origins is not None]
    if not known:
        return ""
    return " of one origin (nothing is said of others)" if min(known) == 1 else f" of {min(known)} origins"


def _accuracy(setting: Setting) -> Table:
    """Result and rank of every contestant at each k."""
    table = _columns(*(f"k = {k}" for k in setting.shots), "seeds")
    numbers = numbers_of(setting)
    for contestant in setting.contestants:
        name = contestant.name
        cells = [plain(name + (" (transductive)" if contestant.transductive else ""))]
        for at in setting.shots.values():
            standing = at.results.get(name)
            winner = name in starred(setting, at)
            text = "-   " if standing is None else f"{numbers.interval(standing)}  {standing.rank:>2}"
            cells.append(Text(text + ("*" if winner else " "), style="bold" if winner else ""))
        table.add_row(*cells, Text(str(len(contestant.seeds))))
    return table


def metric_numbers(setting: Setting, name: str) -> Numbers:
    """The writer of a metric beside the headline."""
    standings = [standing for at in setting.shots.values() for standing in at.results.values()]
    intervals = [standing.metrics.get(name) for standing in standings]
    return Numbers.of(setting.units.get(name) == "%", [one.half_width for one in intervals if one])


def titled(setting: Setting, name: str) -> str:
    """`macro F1, %` of macro_f1."""
    return metric_title(name, setting.units.get(name))


def _others(setting: Setting, names: Sequence[str]) -> Table:
    """The metrics beside the headline, adapted, a column for each at each k."""
    table = _columns(*(f"{titled(setting, name)}, k = {k}" for name in names for k in setting.shots))
    for contestant in setting.contestants:
        standings = [at.results.get(contestant.name) for at in setting.shots.values()]
        cells = [
            metric_numbers(setting, name).interval(standing and standing.metrics.get(name))
            for name in names
            for standing in standings
        ]
        table.add_row(plain(contestant.name), *map(Text, cells))
    return table


def _costs(setting: Setting) -> Table:
    """Paired gain over scratch at each k, and what adapting and answering costs."""
    shots = setting.shots
    numbers = numbers_of(setting)
    gains = any(standing.gain for at in shots.values() for standing in at.results.values())
    gain = [f"gain at k = {k}" for k in shots] if gains else []
    table = _columns(*gain, "adapt ms", "p95 ms", "parameters", "train s")
    for contestant in setting.contestants:
        cells = [plain(contestant.name)]
        if gains:
            standings = [at.results.get(contestant.name) for at in shots.values()]
            cells += [Text(numbers.interval(one and one.gain, signed=True)) for one in standings]
        table.add_row(*cells, *map(Text, _numbers(contestant.costs, contestant.training)))
    return table


def _numbers(costs: Costs | None, training: Training | None) -> list[str]:
    """Adaptation at the largest k, p95 at batch 1, parameters, seconds of training."""
    if costs is None:  # a baseline beside other runs, whose costs are not measured
        return [UNKNOWN] * 4
    adapting = [ms for ms in costs.adaptation_ms.values() if ms is not None]
    one = costs.inference.get(BATCH)
    return [
        duration(adapting[-1] if adapting else None),
        duration(one and one.p95_ms),
        scaled(costs.parameters),
        duration(training and training.seconds),
    ]


def _budgets(setting: Setting) -> Table:
    """What each contestant was given: to be read before its result."""
    heads = ("source examples", "outer steps", "steps tried", "trials")
    table = _columns(*heads, *(f"chosen at k = {k}" for k in setting.shots))
    for contestant in setting.contestants:
        given = [getattr(contestant.training, field, None) for field in QUANTITIES]
        standings = [at.results.get(contestant.name) for at in setting.shots.values()]
        chosen = [UNKNOWN if one is None else _steps(one.steps) for one in standings]
        cells = [UNKNOWN if n is None else f"{n:,.0f}" for n in given]
        table.add_row(plain(contestant.name), *map(Text, [*cells, *chosen]))
    return table


def _steps(chosen: int | Sequence[int]) -> str:
    """One number, or the least and the most of several seeds."""
    return str(chosen) if isinstance(chosen, int) else f"{min(chosen)} to {max(chosen)}"


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    # In a narrow terminal names are cut, and numbers never are: a cut number is a wrong one.
    table.add_column("", no_wrap=True, overflow="ellipsis", min_width=12)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _similarity(setting: Setting) -> list[str]:
    """A similarity is never shown without what it was worth here."""
    return [
        f"similarity by {row.contestant} at k = {row.k}: rank correlation with the real gain "
        f"{correlation(row.rho)} over {row.pairs} pairs of source group and new task, within a task "
        f"{correlation(row.within_task_rho, 'not known')}; "
        f"taking the most similar group loses {numbers_of(setting).loss(row.regret)}; the best ranking that "
        f"is the same for every task: within a task {correlation(row.constant_rho, 'not known')}, its first "
        f"loses {numbers_of(setting).loss(row.constant_regret)}"
        for row in setting.similarity
        if row.rho is not None
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
