"""Contestants at one k: intervals, gains over scratch, pairs, and what similarities were worth."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.comparison.contestants import REFERENCE, Contestant, Shot, task_key
from coldstart_cli.comparison.verdict import by_mean, judged
from coldstart_cli.metrics import measures, significance, strategy_notes
from coldstart_cli.metrics.measures import bank_digest

RELATIVE_ZONE = 0.05
"""The zone of equivalence of errors such as mse, which have no points: a share of the best mean."""

RESAMPLES = 1000

Dict = dict[str, Any]
Matrix = NDArray[np.float64]


def matrix(by_seed: Mapping[int, Shot], tasks: Sequence[str], step: int | None = None) -> Matrix:
    """(n_seeds, n_tasks) values of new tasks, at the chosen step or a given one."""
    rows = [
        [shot.new[shot.step if step is None else step][task] for task in tasks]
        for _, shot in sorted(by_seed.items())
    ]
    return np.asarray(rows, dtype=float)


def at_one_k(
    members: Sequence[Contestant],
    k: int,
    tasks: list[str],
    references: Mapping[str, Contestant],
    higher: bool,
    confidence: float,
    zone: float | None,
) -> Dict:
    values = {m.name: matrix(m.shots[k], tasks) for m in members}
    results = {
        m.name: _result(m, k, tasks, confidence)
        | {"gain": _gain(m, references.get(m.name), k, tasks, higher, confidence)}
        | {"metrics": _other_metrics(m, k, tasks, confidence)}
        for m in members
    }
    means = [row["mean"] for row in results.values() if row["mean"] is not None]
    best = (max if higher else min)(means, default=math.nan)
    margin = RELATIVE_ZONE * abs(best) if zone is None else zone
    seeds = {m.name: sorted(m.shots[k]) for m in members}
    pairs, estimates = [], []
    names = list(values)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            difference = paired(values[a], seeds[a], values[b], seeds[b]) * (1 if higher else -1)
            estimate = significance.crossed(difference, confidence)
            estimates.append(estimate)
            pairs.append(
                {"a": a, "b": b, "p_wilcoxon": known(significance.wilcoxon(difference.mean(axis=0)))}
            )
    winners = judged(pairs, estimates, results, margin, confidence, higher)
    hashes = [task.rpartition(" ")[2] for task in tasks]
    return {
        "n_tasks": len(tasks),
        "bank": bank_digest(hashes),
        "zone": known(margin),
        "results": {name: results[name] for name in by_mean(results, higher)},
        "pairs": pairs,
        "winners": winners,
        "tasks": hashes,
    }


def paired(a: Matrix, a_seeds: Sequence[int], b: Matrix, b_seeds: Sequence[int]) -> Matrix:
    """(n_seeds, n_tasks) differences a - b over the seeds both have; without any, over their means."""
    common = [seed for seed in a_seeds if seed in b_seeds]
    if common:
        rows: Matrix = a[[a_seeds.index(s) for s in common]] - b[[b_seeds.index(s) for s in common]]
        return rows
    difference: Matrix = a.mean(axis=0, keepdims=True) - b.mean(axis=0, keepdims=True)
    return difference


def _result(member: Contestant, k: int, tasks: list[str], confidence: float) -> Dict:
    by_seed = member.shots[k]
    shots = [by_seed[seed] for seed in sorted(by_seed)]
    steps = sorted(set.intersection(*(set(shot.new) for shot in shots)))
    curve = {
        str(step): _interval(matrix(by_seed, tasks, step), confidence)
        for step in steps
        if all(task in shot.new[step] for shot in shots for task in tasks)
    }
    means = {int(step): row["mean"] for step, row in curve.items() if row["mean"] is not None}
    chosen = sorted({shot.step for shot in shots})
    part = "baseline" if member.baseline else "new"
    source = [_source_test(shot) for shot in shots if not member.baseline]
    return {
        **_interval(matrix(by_seed, tasks), confidence),
        "bootstrap": _bootstrap(matrix(by_seed, tasks), confidence),
        "rank": 1,
        "steps": chosen[0] if len(chosen) == 1 else chosen,
        "source_test": _interval(np.asarray(source), confidence) if source and _even(source) else None,
        "before": curve.get(str(steps[0])) if steps else None,
        "curve": curve,
        "area": measures.area_under(means) if means else None,
        "steps_to_95": mean_known(shot.summary[part]["steps_to_95"] for shot in shots),
        "calibration": _calibration(shots, member.baseline),
    }


def _other_metrics(member: Contestant, k: int, tasks: list[str], confidence: float) -> Dict:
    """Name -> interval of each metric beside the headline; nothing where a run was evaluated without."""
    role = "baseline" if member.baseline else "strategy"
    by_seed: list[dict[str, Mapping[str, float | None]]] = []
    for _, shot in sorted(member.shots[k].items()):
        rows = [row for row in shot.rows if (row["role"], row["step"]) == (role, shot.step)]
        by_seed.append({task_key(row): row.get("metrics", {}) for row in rows})
    named = [[of[task] for task in tasks] for of in by_seed]
    first = named[0][0]
    return {
        name: _interval(np.asarray([[one[name] for one in row] for row in named], dtype=float), confidence)
        for name in first
        if all(name in one for row in named for one in row)
    }


def _interval(values: Matrix, confidence: float) -> Dict:
    estimate = significance.crossed(values, confidence)
    return {"mean": known(estimate.mean), "half_width": known(estimate.half_width)}


def _bootstrap(values: Matrix, confidence: float) -> list[float | None]:
    """[low, high]: an interval that assumes no distribution, beside the other."""
    ends = significance.crossed_bootstrap(values, confidence, n_resamples=RESAMPLES, seed=0)
    return [known(end) for end in ends]


def _source_test(shot: Shot) -> list[float]:
    values = shot.source_test.get(shot.step, {})
    return [values[task] for task in sorted(values)]


def _even(rows: Sequence[Sequence[float]]) -> bool:
    return len(rows[0]) > 1 and len({len(row) for row in rows}) == 1


def _calibration(shots: Sequence[Shot], baseline: bool) -> Dict:
    """Means over seeds of what the summaries say; empty for runs that were evaluated without."""
    parts = [shot.summary["baseline" if baseline else "new"].get("calibration") or {} for shot in shots]
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: mean_known(part.get(name) for part in parts) for name in names}


def references_of(members: Sequence[Contestant], k: int, higher: bool) -> dict[str, Contestant]:
    """Contestant -> what its gain is measured against: the scratch of its own network.

    The baseline beside it, else a run of scratch; of several (rates), validation tasks choose.
    """
    found = {}
    for member in members:
        own = [m for m in members if m.strategy == REFERENCE and m.model == member.model]
        own = [m for m in own if m.baseline] or own
        if own and member.strategy != REFERENCE:
            found[member.name] = max(own, key=lambda m: _on_validation(m, k) * (1 if higher else -1))
    return found


def _on_validation(member: Contestant, k: int) -> float:
    role = "baseline" if member.baseline else "strategy"
    values = [
        row["value"]
        for shot in member.shots[k].values()
        for row in shot.result.records
        if (row["split"], row["role"], row["k_shot"], row["step"]) == ("validation", role, k, shot.step)
        and row["value"] is not None
    ]
    return plain.fmean(values) if values else -math.inf


def _gain(
    member: Contestant,
    reference: Contestant | None,
    k: int,
    tasks: list[str],
    higher: bool,
    confidence: float,
) -> Dict | None:
    if reference is None:
        return None
    ours, theirs = member.shots[k], reference.shots[k]
    difference = paired(matrix(ours, tasks), sorted(ours), matrix(theirs, tasks), sorted(theirs))
    return _interval(difference * (1 if higher else -1), confidence)


def similarity(
    members: Sequence[Contestant], k: int, references: Mapping[str, Contestant], higher: bool
) -> list[Dict]:
    """What a similarity was worth, of every contestant that noted one beside its source groups."""
    found = []
    for member in members:
        if member.name not in references or member.baseline:
            continue
        base: dict[str, float] = {}
        rows: list[strategy_notes.Noted] = []
        beside: dict[tuple[str, str], float] = {}
        theirs = references[member.name].shots[k]
        for seed, shot in member.shots[k].items():
            noted = [
                r
                for r in shot.rows
                if any(n.startswith(strategy_notes.SIMILARITY) for n in r.get("notes", {}))
            ]
            at = min((r["step"] for r in noted if r["step"] >= shot.step), default=None)
            other = theirs.get(seed) or next(iter(theirs.values()))
            base |= {f"{seed}/{task}": value for task, value in other.new[other.step].items()}
            rows += [(f"{seed}/{task_key(r)}", r["notes"]) for r in noted if r["step"] == at]
            beside |= {(r["role"], f"{seed}/{task_key(r)}"): r["value"] for r in shot.rows if r["step"] == at}
        check = strategy_notes.similarity_check(rows, beside, base, higher)
        if check is not None:
            points = strategy_notes.similarity_pairs(rows, beside, base, higher)
            found.append(
                {
                    "contestant": member.name,
                    "k": str(k),
                    **{n: v if isinstance(v, int) else known(v) for n, v in asdict(check).items()},
                }
                | {"points": [[similarity, gain, group] for _, group, similarity, gain in points]}
            )
    return found


def mean_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return plain.fmean(known) if known else None


def known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
