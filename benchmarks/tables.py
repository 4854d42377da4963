"""The tables of docs/results.md from run directories.

    python -m benchmarks.tables gains outputs/glyphs/*      one row a method, paired gains over `scratch`
    python -m benchmarks.tables seeds outputs/digits/*      one row a method, mean and interval over seeds
    python -m benchmarks.tables similarity outputs/glyphs/* one row a measure, its correlation with the gain

Every run has one evaluation; runs that are compared were evaluated on the same tasks, by their hashes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.metrics import Interval, interval
from coldstart_cli.notes import similarity_check

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

    def values(self, k: str, split: str = "new") -> dict[str, float]:
        """task hash -> value of the predictor at the step that validation chose."""
        step = self.summary["shots"][k]["new"]["step"]
        return {
            r["task_hash"]: r["value"]
            for r in self.records
            if (r["role"], r["split"], str(r["k_shot"]), r["step"]) == ("strategy", split, k, step)
        }

    def validation(self, k: str) -> float:
        """The mean on validation tasks."""
        values = self.values(k, "validation").values()
        return sum(values) / len(values)


def gains(results: Sequence[Result]) -> list[str]:
    """Accuracy of each method and its paired gain over scratch, best first.

    Of several runs from scratch (learning rates), validation tasks choose one for each k.
    """
    tried = [result for result in results if result.strategy == "scratch"]
    shots = tried[0].shots
    scratch = {k: max(tried, key=lambda result: result.validation(k)) for k in shots}
    results = [result for result in results if result not in tried or result is scratch[shots[0]]]
    head = ["method", *(f"k = {k}, %" for k in shots), *(f"gain at {k}" for k in shots)]
    head += ["adapt ms", "predict ms", "train s"]
    rows = []
    for result in sorted(results, key=lambda r: -_mean(r, shots[0])):
        costs, new = result.summary["costs"], result.summary["shots"]
        cells = [f"{'' if not result.summary['transductive'] else '(t) '}{result.strategy}"]
        if result in tried:
            cells += [_percent(scratch[k].summary["shots"][k]["new"]["after"]) for k in shots] + [""] * len(
                shots
            )
        else:
            cells += [_percent(new[k]["new"]["after"]) for k in shots]
            cells += [_percent(_gain(result, scratch[k], k), sign=True) for k in shots]
        cells += [f"{costs['adaptation_ms'][shots[-1]]:.1f}", f"{costs['inference']['64']['p50_ms']:.1f}"]
        cells += [f"{result.summary['training']['seconds']:.0f}"]
        rows.append(cells)
    return _table(head, rows)


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


def similarity(results: Sequence[Result]) -> list[str]:
    """Rank correlation of each similarity with the real gain over scratch, as `notes.similarity_check`."""
    tried = [result for result in results if result.strategy == "scratch"]
    rows = []
    for result in (
        r for r in results if any("similarity of" in n for row in r.records for n in row.get("notes", {}))
    ):
        cells = [result.strategy]
        for k in result.shots:
            scratch = max(tried, key=lambda other: other.validation(k))
            step = max(scratch.summary["shots"][k]["new"]["step"], 1)
            base = {
                r["task"]: r["value"]
                for r in scratch.records
                if (r["split"], str(r["k_shot"]), r["step"]) == ("new", k, step)
            }
            last = max(r["step"] for r in result.records)
            new = [r for r in result.records if (r["split"], str(r["k_shot"]), r["step"]) == ("new", k, last)]
            beside = {(r["role"], r["task"]): r["value"] for r in new if r["role"] != "strategy"}
            found = similarity_check([r for r in new if r["role"] == "strategy"], beside, base, True)
            cells.append(
                "-"
                if found is None
                else f"{found['rho']:+.2f}, {found['within_task_rho']:+.2f}, {100 * found['regret']:.1f}"
            )
        rows.append(cells)
    return _table(
        ["measure", *(f"k = {k}: rho, within a task, points lost by its choice" for k in tried[0].shots)],
        rows,
    )


def _distances(results: Sequence[Result]) -> str:
    """The mean `distance` of new tasks before the first and after the last step that was scored."""
    by_step: dict[int, list[float]] = {}
    for record in (r for result in results for r in result.records):
        if record["split"] == "new" and "distance" in record.get("notes", {}):
            by_step.setdefault(record["step"], []).append(record["notes"]["distance"])
    ends = [by_step[step] for step in (min(by_step), max(by_step))] if by_step else []
    return " → ".join(f"{sum(values) / len(values):.3g}" for values in ends) or "-"


def _mean(result: Result, k: str) -> float:
    return float(result.summary["shots"][k]["new"]["after"]["mean"])


def _gain(result: Result, scratch: Result, k: str) -> Interval:
    ours, theirs = result.values(k), scratch.values(k)
    if ours.keys() != theirs.keys():
        raise SystemExit(
            f"{result.strategy}: its tasks at k = {k} are not those of scratch; evaluate it anew"
        )
    return interval([ours[task] - theirs[task] for task in ours], CONFIDENCE)


def _percent(value: Interval | Mapping[str, float], *, sign: bool = False) -> str:
    mean, half = (
        (value.mean, value.half_width)
        if isinstance(value, Interval)
        else (value["mean"], value["half_width"])
    )
    return f"{100 * mean:{'+' if sign else ''}.1f} ± {100 * half:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


if __name__ == "__main__":
    kind, *runs = sys.argv[1:]
    found = [Result(Path(run)) for run in runs if (Path(run) / "evaluations").is_dir()]
    print("\n".join({"gains": gains, "seeds": seeds, "similarity": similarity}[kind](found)))
