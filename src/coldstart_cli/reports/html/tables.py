"""The tables of the HTML report: those behind its charts, and what the runs were.

All cells are text. A number that is not known is a dash.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from coldstart_cli.comparison.findings import Setting, Standing
from coldstart_cli.comparison.verdict import starred
from coldstart_cli.metrics.numbers import (
    UNKNOWN,
    calibration,
    correlation,
    duration,
    durations,
    is_known,
    mebibytes,
    p_value,
    significant,
    told_apart,
)
from coldstart_cli.metrics.results import HardwareFacts
from coldstart_cli.reports.comparison_table import metric_numbers, numbers_of, titled

Rows = list[list[str]]

PRINTED = 60
"""Rows up to which a folded table is unfolded on paper."""


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table.

    Attributes:
        text: the columns that hold no numbers. The first column names the row.
        strong: (row, column) of the cells that stand out.
        sortable: whether a reader may sort its rows.
    """

    title: str
    head: list[str]
    rows: Rows
    text: Sequence[int]
    strong: Collection[tuple[int, int]] = ()
    sortable: bool = False

    @classmethod
    def of_numbers(
        cls,
        title: str,
        head: list[str],
        rows: Rows,
        text: Sequence[int],
        strong: Collection[tuple[int, int]] = (),
        *,
        sortable: bool = False,
    ) -> Table:
        """The same with its numbers as they are printed: a dash for what is not known, a true minus."""
        typeset = [
            [cell if i in text and cell != UNKNOWN else _typeset(cell) for i, cell in enumerate(row)]
            for row in rows
        ]
        return cls(title, head, typeset, text, strong, sortable)

    @property
    def printed(self) -> bool:
        return len(self.rows) <= PRINTED


def results(setting: Setting) -> Table:
    """A row for each contestant, a column for each k; the best of each stand out."""
    numbers, shots = numbers_of(setting), setting.shots
    best = [starred(setting, at) for at in shots.values()]
    rows: Rows = []
    strong: list[tuple[int, int]] = []
    for contestant in setting.contestants:
        name, over = contestant.name, contestant.over_shots
        strong += [(len(rows), column) for column, names in enumerate(best, start=1) if name in names]
        cells = [numbers.interval(at.results.get(name)) for at in shots.values()]
        kinds = ["baseline"] * contestant.baseline + ["transductive"] * contestant.transductive
        rows.append(
            [name, *cells, numbers.value(over.area), significant(over.shots_to_95),
             str(len(contestant.seeds)), contestant.model, ", ".join(kinds)]
        )  # fmt: skip
    # Equal digests are equal tasks: two reports can be held against one another by this row. Whole ones stand
    # under "Task hashes".
    tasks = [f"{at.n_tasks} ({at.bank[:8]})" for at in shots.values()]
    rows.append(["tasks (digest)", *tasks, "", "", "", "", ""])
    head = ["contestant", *(f"k = {k}" for k in shots), "area over k", "k to 95 %", "seeds", "model", "kind"]
    return Table.of_numbers("Results", head, rows, (0, len(head) - 2, len(head) - 1), strong)


def curves(setting: Setting) -> Table:
    """A column for each adaptation step."""
    numbers = numbers_of(setting)
    steps = sorted({step for *_, standing in _each(setting) for step in standing.curve})
    rows = [
        [f"k = {k}", name, *(numbers.interval(standing.curve.get(step)) for step in steps)]
        for k, name, standing in _each(setting)
    ]
    head = ["k", "contestant", *(f"{step} step{'' if step == 1 else 's'}" for step in steps)]
    return Table.of_numbers("Learning curves", head, rows, (0, 1))


def transfer(setting: Setting) -> Table:
    """Source against new tasks, before and after adaptation, and the gain over scratch."""
    numbers = numbers_of(setting)
    needed = {c.name: c.over_shots.label_efficiency for c in setting.contestants}
    rows = [
        [
            f"k = {k}",
            name,
            significant(standing.rank),
            numbers.interval(standing.source_test),
            numbers.interval(standing.before),
            numbers.interval(standing),
            numbers.interval(standing.gain, signed=True),
            significant(needed[name].get(k)),
            _steps(standing.steps),
            significant(standing.steps_to_95),
            numbers.value(standing.area),
        ]
        for k, name, standing in _each(setting)
    ]
    head = [
        "k", "contestant", "rank", "source tasks", "new, before", "new, adapted", "gain over scratch",
        "shots scratch needs", "steps chosen", "steps to 95 %", "area over steps",
    ]  # fmt: skip
    return Table.of_numbers("Transfer", head, rows, (0, 1))


def calibrations(setting: Setting) -> Table | None:
    """Whether probabilities and intervals mean what they say; None where no run was asked."""
    titles = {
        "nll": "NLL", "brier": "Brier score", "coverage": "coverage, %", "set_size": "set size",
        "ece": "ECE, %",
    }  # fmt: skip
    each = list(_each(setting))
    names = [name for name in titles if any(is_known(_calibrated(of, name)) for *_, of in each)]
    if not names:
        return None
    rows = [
        [f"k = {k}", who, *(calibration(name, _calibrated(standing, name)) for name in names)]
        for k, who, standing in each
    ]
    return Table.of_numbers(
        "Calibration", ["k", "contestant", *(titles[name] for name in names)], rows, (0, 1)
    )


def _calibrated(standing: Standing, name: str) -> float | None:
    value: float | None = getattr(standing.calibration, name, None)
    return value


def metrics(setting: Setting) -> Table | None:
    """The metrics beside the headline; None where no run was asked for any."""
    names = setting.other_metrics
    if not names:
        return None
    writers = {name: metric_numbers(setting, name) for name in names}
    rows = [
        [f"k = {k}", who, *(writers[name].interval(standing.metrics.get(name)) for name in names)]
        for k, who, standing in _each(setting)
    ]
    head = ["k", "contestant", *(titled(setting, name) for name in names)]
    return Table.of_numbers("Other metrics", head, rows, (0, 1))


def costs(setting: Setting) -> Table:
    """Times at p50 and p95, sizes, and the hardware they were measured on."""
    known = [contestant.costs for contestant in setting.contestants]
    sizes = list(dict.fromkeys(size for cost in known if cost is not None for size in cost.inference))
    ks = list(setting.shots)
    times: list[list[float | None]] = []
    for contestant in setting.contestants:
        cost, training = contestant.costs, contestant.training
        timing = [cost and cost.inference.get(size) for size in sizes]
        answering = [ms for of in timing for ms in (of and of.p50_ms, of and of.p95_ms)]
        adapting = [cost and cost.adaptation_ms.get(k) for k in ks]
        times.append([*answering, *adapting, training and training.seconds])
    columns = [durations(column) for column in zip(*times, strict=True)]
    rows = [
        [
            contestant.name,
            *(column[i] for column in columns[:-1]),
            significant(contestant.costs and contestant.costs.parameters),
            significant(contestant.costs and contestant.costs.flops),
            mebibytes(contestant.costs and contestant.costs.peak_memory),
            columns[-1][i],
            _hardware(contestant.hardware),
        ]
        for i, contestant in enumerate(setting.contestants)
    ]
    if len({row[-1] for row in rows} - {UNKNOWN}) < 2:  # said once, above the table
        rows = [row[:-1] for row in rows]
    head = [
        "contestant",
        *(f"batch {size}, {p}, ms" for size in sizes for p in ("p50", "p95")),
        *(f"adapt at k = {k}, ms" for k in ks),
        "parameters", "FLOP per input", "peak memory, MiB", "training, s", "hardware",
    ][: len(rows[0]) if rows else None]  # fmt: skip
    return Table.of_numbers("Costs", head, rows, (0, len(head) - 1) if head[-1] == "hardware" else (0,))


def pairs(setting: Setting) -> Table:
    """Every pair at every k."""
    numbers = numbers_of(setting)
    rows = []
    for k, at in setting.shots.items():
        for pair in at.pairs:
            tests = [p_value(p) for p in (pair.p, pair.p_holm, pair.p_wilcoxon)]
            needed = {"seeds": pair.seeds_needed, "tasks": pair.tasks_needed}
            more = [f"{number:,} {unit}" for unit, number in needed.items() if number is not None]
            rows.append(
                [f"k = {k}", pair.a, pair.b, pair.verdict, numbers.interval(pair.interval, signed=True),
                 *tests, " or ".join(more) or UNKNOWN]
            )  # fmt: skip
    unit = ", points" if setting.percent else ""
    head = ["k", "contestant", "against", "verdict", f"better by{unit}", "p", "p, Holm", "p, Wilcoxon",
            "needed to decide"]  # fmt: skip
    return Table.of_numbers("Pairs", head, rows, (0, 1, 2, 3))


def similarity(setting: Setting) -> Table:
    """What each similarity was worth."""
    numbers = numbers_of(setting)
    rows = [
        [row.contestant, f"k = {row.k}", correlation(row.rho), p_value(row.p), significant(row.pairs),
         correlation(row.within_task_rho), numbers.value(row.regret), correlation(row.constant_rho),
         numbers.value(row.constant_regret)]
        for row in setting.similarity
    ]  # fmt: skip
    head = [
        "contestant",
        "k",
        "rank correlation",
        "p",
        "pairs",
        "within a task",
        "regret of the most similar",
        "best constant ranking, within a task",
        "regret of its first",
    ]
    return Table.of_numbers("Task similarity", head, rows, (0, 1))


def budgets(setting: Setting, title: str) -> Table:
    """What training was given, and limits that were set."""
    rows = []
    for contestant in setting.contestants:
        training = contestant.training
        limits = [
            "{} {} of {}: {}".format(
                name, *told_apart(of.measured, of.limit), "kept" if of.kept else "exceeded"
            )
            for name, of in contestant.budgets.items()
        ]
        spent = [
            significant(training and training.examples),
            significant(training and training.steps),
            significant(training and training.adaptation_steps),
            significant(training and training.trials),
            duration(training and training.seconds),
        ]
        rows.append([contestant.name, *spent, "; ".join(limits) or UNKNOWN])
    head = [
        "contestant", "source examples", "training steps", "adaptation steps tried", "search trials",
        "training, s", "limits: measured of allowed",
    ]  # fmt: skip
    return Table.of_numbers(title, head, rows, (0, 6))


def written(value: object) -> str:
    """A setting as it stands in YAML, on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _each(setting: Setting) -> Iterator[tuple[int, str, Standing]]:
    """k, name and standing of every contestant that was compared there, in the contestants' order."""
    for k, at in setting.shots.items():
        for contestant in setting.contestants:
            standing = at.results.get(contestant.name)
            if standing is not None:
                yield k, contestant.name, standing


def _steps(steps: int | Sequence[int]) -> str:
    return significant(steps) if isinstance(steps, int) else ", ".join(map(str, steps))


def hardware(setting: Setting) -> str:
    """The machine that all times were measured on, or that there were several."""
    known = {_hardware(contestant.hardware) for contestant in setting.contestants} - {UNKNOWN}
    if len(known) > 1:
        return "different hardware, which the table names: compare times roughly"
    return known.pop() if known else "hardware that is not known"


def _hardware(hardware: HardwareFacts | None) -> str:
    if hardware is None:
        return UNKNOWN
    threads = hardware.threads
    return f"{hardware.device}: {hardware.name}, {threads} thread{'' if threads == 1 else 's'}"


def _typeset(text: str) -> str:
    # The hyphen of a number becomes a minus, which is as wide as a plus and breaks no line.
    return "–" if text == UNKNOWN else text.replace("-", "−")
