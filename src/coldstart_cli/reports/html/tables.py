"""The tables of the HTML report: those behind its charts, and what the runs were.

All cells are text. A number that is not known is a dash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coldstart_cli.comparison.comparison import other_metrics
from coldstart_cli.metrics.numbers import (
    UNKNOWN,
    MeanInterval,
    calibration,
    correlation,
    duration,
    mebibytes,
    p_value,
    significant,
    told_apart,
)
from coldstart_cli.reports.comparison_table import metric_numbers, numbers_of, titled

Dict = Mapping[str, Any]
Rows = list[list[str]]

WINNER = "★"
PRINTED = 60
"""Rows up to which a folded table is unfolded on paper."""


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table.

    Attributes:
        text: the columns that hold no numbers. The first column names the row.
    """

    title: str
    head: list[str]
    rows: Rows
    text: Sequence[int]

    @classmethod
    def of_numbers(cls, title: str, head: list[str], rows: Rows, text: Sequence[int]) -> Table:
        """The same with its numbers as they are printed: a dash for what is not known, a true minus."""
        typeset = [
            [cell if i in text and cell != UNKNOWN else _typeset(cell) for i, cell in enumerate(row)]
            for row in rows
        ]
        return cls(title, head, typeset, text)

    @property
    def printed(self) -> bool:
        return len(self.rows) <= PRINTED


def results(setting: Dict) -> Table:
    """A row for each contestant, a column for each k."""
    numbers, shots = numbers_of(setting), setting["shots"]
    rows = []
    for contestant in setting["contestants"]:
        name = contestant["name"]
        cells = [
            numbers.interval(_at(shot["results"].get(name)))
            + (f" {WINNER}" if name in shot["winners"] else "")
            for shot in shots.values()
        ]
        over = contestant["over_shots"] or {}
        area, enough = over.get("area"), over.get("shots_to_95")
        kind = ", ".join(word for word in ("baseline", "transductive") if contestant[word])
        rows.append(
            [name, *cells, numbers.value(area), significant(enough), str(len(contestant["seeds"])),
             contestant["model"], kind]
        )  # fmt: skip
    tasks = [f"{shot['n_tasks']} ({shot['bank']})" for shot in shots.values()]
    rows.append(["tasks (digest)", *tasks, "", "", "", "", ""])
    head = ["contestant", *(f"k = {k}" for k in shots), "area over k", "k to 95 %", "seeds", "model", "kind"]
    return Table.of_numbers("Results", head, rows, (0, len(head) - 2, len(head) - 1))


def curves(setting: Dict) -> Table:
    """A column for each adaptation step."""
    numbers = numbers_of(setting)
    every = {step for *_, row in _each(setting) for step in row.get("curve") or {}}
    steps = sorted(every, key=int)
    rows = [
        [f"k = {k}", name, *(numbers.interval(_at((row.get("curve") or {}).get(step))) for step in steps)]
        for k, name, row in _each(setting)
    ]
    head = ["k", "contestant", *(f"{step} step{'' if step == '1' else 's'}" for step in steps)]
    return Table.of_numbers("Learning curves", head, rows, (0, 1))


def transfer(setting: Dict) -> Table:
    """Source against new tasks, before and after adaptation, and the gain over scratch."""
    numbers = numbers_of(setting)
    over = {contestant["name"]: contestant["over_shots"] or {} for contestant in setting["contestants"]}
    rows = [
        [
            f"k = {k}",
            name,
            significant(row.get("rank")),
            numbers.interval(_at(row.get("source_test"))),
            numbers.interval(_at(row.get("before"))),
            numbers.interval(_at(row)),
            numbers.interval(_at(row.get("gain")), signed=True),
            significant((over[name].get("label_efficiency") or {}).get(k)),
            _steps(row.get("steps")),
            significant(row.get("steps_to_95")),
            numbers.value(row.get("area")),
        ]
        for k, name, row in _each(setting)
    ]
    head = [
        "k", "contestant", "rank", "source tasks", "new, before", "new, adapted", "gain over scratch",
        "shots scratch needs", "steps chosen", "steps to 95 %", "area over steps",
    ]  # fmt: skip
    return Table.of_numbers("Transfer", head, rows, (0, 1))


def calibrations(setting: Dict) -> Table | None:
    """Whether probabilities and intervals mean what they say; None where no run was asked."""
    titles = {
        "nll": "NLL", "ece": "ECE, %", "brier": "Brier score", "coverage": "coverage, %",
        "set_size": "set size",
    }  # fmt: skip
    known = [(k, name, row.get("calibration") or {}) for k, name, row in _each(setting)]
    names = list(dict.fromkeys(name for *_, row in known for name in row if row[name] is not None))
    if not names:
        return None
    rows = [[f"k = {k}", who, *(calibration(name, row.get(name)) for name in names)] for k, who, row in known]
    return Table.of_numbers(
        "Calibration", ["k", "contestant", *(titles.get(n, n) for n in names)], rows, (0, 1)
    )


def metrics(setting: Dict) -> Table | None:
    """The metrics beside the headline; None where no run was asked for any."""
    names = other_metrics(setting)
    if not names:
        return None
    writers = {name: metric_numbers(setting, name) for name in names}
    rows = [
        [f"k = {k}", who, *(writers[name].interval(_at(row["metrics"].get(name))) for name in names)]
        for k, who, row in _each(setting)
    ]
    head = ["k", "contestant", *(titled(setting, name) for name in names)]
    return Table.of_numbers("Other metrics", head, rows, (0, 1))


def costs(setting: Dict) -> Table:
    """Times at p50 and p95, sizes, and the hardware they were measured on."""
    known = [contestant["costs"] or {} for contestant in setting["contestants"]]
    batches = list(dict.fromkeys(batch for cost in known for batch in cost.get("inference") or {}))
    ks = list(setting["shots"])
    rows = []
    for contestant, cost in zip(setting["contestants"], known, strict=True):
        timing = [(cost.get("inference") or {}).get(batch) or {} for batch in batches]
        adapting = cost.get("adaptation_ms") or {}
        memory = cost.get("peak_memory")
        training = contestant["training"] or {}
        rows.append(
            [
                contestant["name"],
                *(duration(time.get(p)) for time in timing for p in ("p50_ms", "p95_ms")),
                *(duration(adapting.get(k)) for k in ks),
                significant(cost.get("parameters")),
                significant(cost.get("flops")),
                mebibytes(memory),
                duration(training.get("seconds")),
                _hardware(contestant["hardware"]),
            ]
        )
    if len({row[-1] for row in rows} - {UNKNOWN}) < 2:  # said once, above the table
        rows = [row[:-1] for row in rows]
    head = [
        "contestant",
        *(f"batch {batch}, {p}, ms" for batch in batches for p in ("p50", "p95")),
        *(f"adapt at k = {k}, ms" for k in ks),
        "parameters", "FLOP per input", "peak memory, MiB", "training, s", "hardware",
    ][: len(rows[0]) if rows else None]  # fmt: skip
    return Table.of_numbers("Costs", head, rows, (0, len(head) - 1) if head[-1] == "hardware" else (0,))


def pairs(setting: Dict) -> Table:
    """Every pair at every k."""
    numbers = numbers_of(setting)
    needed = {"seeds_needed": "seeds", "tasks_needed": "tasks"}
    rows = []
    for k, shot in setting["shots"].items():
        for pair in shot["pairs"]:
            row = {"mean": pair["difference"], "half_width": pair["half_width"]}
            tests = [p_value(pair.get(key)) for key in ("p", "p_holm", "p_wilcoxon")]
            more = [f"{pair[key]:,} {unit}" for key, unit in needed.items() if pair.get(key) is not None]
            rows.append(
                [f"k = {k}", pair["a"], pair["b"], pair["verdict"], numbers.interval(_at(row), signed=True),
                 *tests, " or ".join(more) or UNKNOWN]
            )  # fmt: skip
    unit = ", points" if setting["percent"] else ""
    head = ["k", "contestant", "against", "verdict", f"better by{unit}", "p", "p, Holm", "p, Wilcoxon",
            "needed to decide"]  # fmt: skip
    return Table.of_numbers("Pairs", head, rows, (0, 1, 2, 3))


def similarity(setting: Dict) -> Table:
    """What each similarity was worth."""
    numbers = numbers_of(setting)
    rows = [
        [row["contestant"], f"k = {row['k']}", correlation(row["rho"]), p_value(row["p"]),
         significant(row["pairs"]), correlation(row["within_task_rho"]), numbers.value(row["regret"])]
        for row in setting["similarity"]
    ]  # fmt: skip
    head = [
        "contestant",
        "k",
        "rank correlation",
        "p",
        "pairs",
        "within a task",
        "regret of the most similar",
    ]
    return Table.of_numbers("Task similarity", head, rows, (0, 1))


def budgets(setting: Dict, title: str) -> Table:
    """What training was given, and limits that were set."""
    kept = {True: "kept", False: "exceeded"}
    rows = []
    for contestant in setting["contestants"]:
        training = contestant["training"] or {}
        limits = [
            "{} {} of {}: {}".format(
                name, *told_apart(row["measured"], row["limit"]), kept.get(row["kept"], UNKNOWN)
            )
            for name, row in (contestant["budgets"] or {}).items()
        ]
        spent = [
            *(significant(training.get(n)) for n in ("steps", "examples")),
            duration(training.get("seconds")),
        ]
        rows.append([contestant["name"], *spent, "; ".join(limits) or UNKNOWN])
    head = ["contestant", "training steps", "source examples", "training, s", "limits: measured of allowed"]
    return Table.of_numbers(title, head, rows, (0, 4))


def written(value: object) -> str:
    """A setting as it stands in YAML, on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _each(setting: Dict) -> Iterator[tuple[str, str, Dict]]:
    """k, name and result of every contestant, in the contestants' order."""
    for k, shot in setting["shots"].items():
        for contestant in setting["contestants"]:
            row = shot["results"].get(contestant["name"])
            if row is not None:
                yield k, contestant["name"], row


def _steps(steps: int | Sequence[int] | None) -> str:
    if isinstance(steps, Sequence):
        return ", ".join(map(str, steps))
    return significant(steps)


def hardware(setting: Dict) -> str:
    """The machine that all times were measured on, or that there were several."""
    known = {_hardware(contestant["hardware"]) for contestant in setting["contestants"]} - {UNKNOWN}
    if len(known) > 1:
        return "different hardware, which the table names: compare times roughly"
    return known.pop() if known else "hardware that is not known"


def _hardware(hardware: Dict | None) -> str:
    if hardware is None:
        return UNKNOWN
    threads = hardware["threads"]
    return f"{hardware['device']}: {hardware['name']}, {threads} thread{'' if threads == 1 else 's'}"


def _at(row: Dict | None) -> MeanInterval | None:
    return None if row is None else MeanInterval(row["mean"], row["half_width"])


def _typeset(text: str) -> str:
    return "–" if text == UNKNOWN else text.replace("-", "−")
