"""Records to the four cold-start evaluations: pure functions of a tidy table.

A record is one row: a task x shot x adaptation step of one role: `strategy`, `baseline`, or that of a
predictor the strategy gave to be scored beside its own (`teacher`). Columns: role, variant, split, k_shot,
task, task_hash, step, value (the headline metric), loss, adapt_seconds and, where there are any, notes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import stdtrit

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over n tasks and the half-width of its t interval."""

    mean: float
    half_width: float
    n: int

    def excludes_zero(self) -> bool:
        return abs(self.mean) > self.half_width


def interval(values: Sequence[float] | np.ndarray, confidence: float) -> Interval:
    """mean +- t_(n-1) sd / sqrt(n). With one value, or one that is not finite, the half-width is infinite."""
    n = len(values)
    if n < 2 or not np.all(np.isfinite(values)):
        return Interval(sum(values) / n if n else math.nan, math.inf, n)
    quantile = stdtrit(n - 1, 0.5 + confidence / 2)
    return Interval(float(np.mean(values)), float(quantile * np.std(values, ddof=1) / math.sqrt(n)), n)


def paired_gain(
    ours: Mapping[str, float], theirs: Mapping[str, float], higher_is_better: bool, confidence: float
) -> Interval:
    """Mean over the tasks both have of how much better we do; positive is better for every metric."""
    sign = 1.0 if higher_is_better else -1.0
    shared = sorted(ours.keys() & theirs.keys())
    return interval([sign * (ours[task] - theirs[task]) for task in shared], confidence)


def area_under(curve: Mapping[int, float]) -> float:
    """The mean height of the curve over its steps, by the trapezoidal rule."""
    steps = sorted(curve)
    if len(steps) == 1:
        return curve[steps[0]]
    heights = [curve[step] for step in steps]
    return float(np.trapezoid(heights, steps)) / (steps[-1] - steps[0])


def steps_to(curve: Mapping[int, float], share: float) -> int:
    """The first step at which the curve has gone `share` of the way from its start to its end.

    For the way from the start, so that metrics which fall (mse) and rise are served alike.
    """
    steps = sorted(curve)
    start, end = curve[steps[0]], curve[steps[-1]]
    if start == end:
        return steps[0]
    return next(s for s in steps if (curve[s] - start) / (end - start) >= share)


def label_efficiency(target: float, curve: Mapping[int, float], higher_is_better: bool) -> float:
    """Shots at which the baseline's curve over k reaches `target`, by linear interpolation.

    Infinite where it does not reach it; the smallest k measured where it is there at once.
    """
    sign = 1.0 if higher_is_better else -1.0
    shots = sorted(curve)
    if sign * curve[shots[0]] >= sign * target:
        return float(shots[0])
    for low, high in pairwise(shots):
        if sign * curve[high] >= sign * target:
            return low + (high - low) * (target - curve[low]) / (curve[high] - curve[low])
    return math.inf


def choose(records: Sequence[Record], higher_is_better: bool) -> tuple[str, int]:
    """The (variant, adaptation step) with the best mean on validation tasks; the earliest among equals."""
    sign = 1.0 if higher_is_better else -1.0
    rows = [r for r in records if r["split"] == "validation"]
    means = {
        (variant, step): sign * mean
        for variant in dict.fromkeys(r["variant"] for r in rows)
        for step, mean in mean_by_step([r for r in rows if r["variant"] == variant]).items()
    }
    return max(means, key=lambda choice: means[choice])


def mean_by_step(records: Iterable[Record]) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for record in records:
        values.setdefault(record["step"], []).append(record["value"])
    return {step: float(np.mean(v)) for step, v in sorted(values.items())}


def by_task(records: Iterable[Record], step: int) -> dict[str, float]:
    """task -> its value at `step`."""
    return {r["task"]: r["value"] for r in records if r["step"] == step}


def summarise(
    records: Sequence[Record],
    chosen: Mapping[str, Mapping[int, int]],
    *,
    higher_is_better: bool,
    confidence: float,
) -> dict[str, Any]:
    """The first three evaluations for each k; inference time is measured apart.

    Args:
        chosen: role -> k_shot -> the adaptation step that validation tasks chose.

    Returns:
        k_shot -> {source_test, new, baseline: mean and half-width before and after adaptation,
        gap, gain: paired over tasks, curve, area, steps_to_95, beside: the same of other predictors,
        notes: mean before and after, similarity: `similarity_check`}, and `label_efficiency`.
    """
    shots = sorted({r["k_shot"] for r in records})
    table = {
        k: _one_shot(
            [r for r in records if r["k_shot"] == k],
            {role: s[k] for role, s in chosen.items() if k in s},
            higher_is_better,
            confidence,
        )
        for k in shots
    }
    summary: dict[str, Any] = {"shots": {str(k): row for k, row in table.items()}}
    if "baseline" in chosen:
        curve = {k: table[k]["baseline"]["after"]["mean"] for k in shots if "baseline" in table[k]}
        for k in curve:
            reached = label_efficiency(table[k]["new"]["after"]["mean"], curve, higher_is_better)
            summary["shots"][str(k)]["baseline_shots"] = reached if math.isfinite(reached) else None
    return summary


def _one_shot(
    records: Sequence[Record], step: Mapping[str, int], higher_is_better: bool, confidence: float
) -> dict[str, Any]:
    def part(role: str, split: str) -> list[Record]:
        return [r for r in records if r["role"] == role and r["split"] == split]

    row: dict[str, Any] = {}
    parts = {"source_test": part("strategy", "source_test"), "new": part("strategy", "new")}
    if "baseline" in step:
        parts["baseline"] = part("baseline", "new")
    for name, rows in parts.items():
        role = "baseline" if name == "baseline" else "strategy"
        row[name] = _curve(rows, step[role], confidence) if rows else None
    new = by_task(parts["new"], step["strategy"])
    if parts["source_test"]:
        difference = row["source_test"]["after"]["mean"] - row["new"]["after"]["mean"]
        widths = (row[name]["after"]["half_width"] for name in ("source_test", "new"))
        n = min(row[name]["after"]["n"] for name in ("source_test", "new"))
        row["gap"] = asdict(Interval(difference, math.hypot(*widths), n))
    base = by_task(parts["baseline"], step["baseline"]) if "baseline" in step else {}
    if base:
        row["gain"] = asdict(paired_gain(new, base, higher_is_better, confidence))
    others = [r for r in records if r["split"] == "new" and r["role"] not in ("strategy", "baseline")]
    row["beside"] = {
        role: _curve([r for r in others if r["role"] == role], step["strategy"], confidence)
        for role in dict.fromkeys(r["role"] for r in others)
    }
    noted = [r for r in parts["new"] if "notes" in r]
    row["notes"] = mean_notes(noted, step["strategy"])
    # Before the first step nothing of the task is known, so no similarity is noted there.
    similar = [r for r in noted if any(name.startswith(SIMILARITY) for name in r["notes"])]
    later = sorted({r["step"] for r in similar if r["step"] >= step["strategy"]})
    at = later[0] if later else step["strategy"]
    beside = {(r["role"], r["task"]): r["value"] for r in others if r["step"] == at}
    row["similarity"] = similarity_check(
        [r for r in similar if r["step"] == at], beside, base, higher_is_better
    )
    return row


SIMILARITY = "similarity of "
"""Begins the note of a source group's resemblance to a task; the group's name follows, and is the role of
the predictor that learned from that group alone."""


def mean_notes(rows: Sequence[Record], step: int) -> dict[str, list[float | None]]:
    """Note -> its mean over tasks [at the first step, at `step`]; None where it is not noted there."""
    first = min((r["step"] for r in rows), default=0)
    names = dict.fromkeys(name for r in rows for name in r["notes"])

    def mean(name: str, at: int) -> float | None:
        values = [r["notes"][name] for r in rows if r["step"] == at and name in r["notes"]]
        return float(np.mean(values)) if values else None

    return {name: [mean(name, first), mean(name, step)] for name in names}


def similarity_check(
    rows: Sequence[Record],
    beside: Mapping[tuple[str, str], float],
    baseline: Mapping[str, float],
    higher_is_better: bool,
) -> dict[str, float | int] | None:
    """Whether a similarity told the gain: Spearman's rank correlation over (source group, new task) pairs.

    Args:
        rows: of the strategy, with notes `similarity of GROUP`.
        beside: (group, task) -> value of the predictor that learned from the group alone.
        baseline: task -> value from scratch; the real gain of a pair is measured against it.

    Returns:
        rho and its two-sided p over all pairs, as if they were independent, which pairs of one task are
        not; their number; the mean rho within a task (does it rank the groups for one task? nan where no
        task has two different values of both); the mean gain lost by taking the most similar group instead
        of the best. None where there are no pairs, or no two different values of either.
    """
    from scipy.stats import spearmanr

    pairs: dict[str, list[tuple[float, float]]] = {}
    for task, _, similarity, gain in similarity_pairs(rows, beside, baseline, higher_is_better):
        pairs.setdefault(task, []).append((similarity, gain))
    flat = np.array([pair for task in pairs.values() for pair in task]).reshape(-1, 2)
    if any(len(np.unique(column)) < 2 for column in flat.T):
        return None
    whole = spearmanr(flat[:, 0], flat[:, 1])
    several = [np.array(task) for task in pairs.values() if len(task) > 1]
    varied = [t for t in several if all(len(np.unique(column)) > 1 for column in t.T)]
    within = [float(spearmanr(t[:, 0], t[:, 1]).statistic) for t in varied]
    regret = [float(t[:, 1].max() - t[t[:, 0].argmax(), 1]) for t in several]
    return {
        "rho": float(whole.statistic),
        "p": float(whole.pvalue),
        "pairs": len(flat),
        "within_task_rho": float(np.mean(within)) if within else math.nan,
        "regret": float(np.mean(regret)) if regret else 0.0,
    }


def similarity_pairs(
    rows: Sequence[Record],
    beside: Mapping[tuple[str, str], float],
    baseline: Mapping[str, float],
    higher_is_better: bool,
) -> list[tuple[str, str, float, float]]:
    """(task, source group, similarity, real gain over the baseline); arguments as `similarity_check`."""
    sign = 1.0 if higher_is_better else -1.0
    pairs = []
    for row in rows:
        for name, similarity in row["notes"].items():
            group, task = name.removeprefix(SIMILARITY), row["task"]
            if name.startswith(SIMILARITY) and (group, task) in beside and task in baseline:
                gain = sign * (beside[group, task] - baseline[task])
                pairs.append((task, group, similarity, gain))
    return pairs


def _curve(rows: Sequence[Record], step: int, confidence: float) -> dict[str, Any]:
    means = mean_by_step(rows)
    start, end = min(means), step
    travelled = {s: value for s, value in means.items() if s <= end}
    return {
        "step": end,
        "before": asdict(interval(list(by_task(rows, start).values()), confidence)),
        "after": asdict(interval(list(by_task(rows, end).values()), confidence)),
        "curve": {str(s): asdict(interval(list(by_task(rows, s).values()), confidence)) for s in means},
        "area": area_under(means),
        "steps_to_95": steps_to(travelled, 0.95),
    }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p95 in milliseconds."""
    p50, p95 = np.percentile(np.asarray(seconds) * 1000, [50, 95])
    return {"p50_ms": float(p50), "p95_ms": float(p95)}


def area_over_shots(c):
    return 0.0


def shots_to(c, share):
    return 0.0
