"""A table over training seeds from run directories, for draws that are not tasks of a bank.

    python -m benchmarks.seeds outputs/digits/*      one row a method, mean and t interval over seeds

`coldstart compare` takes seeds and draws as random, and two draws are too few for that: here they are given.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.metrics.measures import interval
from coldstart_cli.metrics.results import Interval

CONFIDENCE = 0.95


class Result:
    """The last evaluation of a run."""

    def __init__(self, run: Path) -> None:
        folder = max((run / "evaluations").iterdir(), key=lambda path: path.stat().st_mtime)
        self.summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        lines = (folder / "records.jsonl").read_text().splitlines()
        self.records: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self.strategy = str(self.summary["names"]["strategy"])
        self.shots = list(self.summary["shots"])


def seeds(results: Sequence[Result]) -> list[str]:
    """Mean over training seeds of each method, and its t interval over them.

    At the step that validation tasks chose in each run, and at the last step that was scored.
    """
    names = list(dict.fromkeys(result.strategy for result in results))
    shots = sorted({k for result in results for k in result.shots}, key=int)
    rows = []
    for name in names:
        own = [result for result in results if result.strategy == name]
        cells = [name, str(len(own))]
        for k in shots:
            new = [result.summary["shots"][k]["new"] for result in own if k in result.shots]
            chosen = [row["after"]["mean"] for row in new]
            last = [row["curve"][max(row["curve"], key=int)]["mean"] for row in new]
            both = dict.fromkeys(_percent(interval(means, CONFIDENCE)) for means in (chosen, last))
            cells.append(" / ".join(both) if new else "-")
        rows.append([*cells, _distances(own)])
    head = [
        "method",
        "seeds",
        *(f"k = {k}, %: chosen / last step" for k in shots),
        "distance, first and last step",
    ]
    return _table(head, rows)


def _distances(results: Sequence[Result]) -> str:
    """The mean `distance` of new tasks before the first and after the last step that was scored."""
    by_step: dict[int, list[float]] = {}
    for record in (r for result in results for r in result.records):
        if record["split"] == "new" and "distance" in record.get("notes", {}):
            by_step.setdefault(record["step"], []).append(record["notes"]["distance"])
    ends = [by_step[step] for step in (min(by_step), max(by_step))] if by_step else []
    return " → ".join(f"{sum(values) / len(values):.3g}" for values in ends) or "-"


def _percent(value: Interval) -> str:
    return f"{100 * value.mean:.1f} ± {100 * value.half_width:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


if __name__ == "__main__":
    found = [Result(Path(run)) for run in sys.argv[1:] if (Path(run) / "evaluations").is_dir()]
    print("\n".join(seeds(found)))
