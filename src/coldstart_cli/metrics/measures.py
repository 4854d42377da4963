"""Records to numbers, each a pure function of a tidy table; `summary` puts them together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from scipy.special import stdtrit

from coldstart_cli.digests import digest
from coldstart_cli.metrics.records import Record, Score
from coldstart_cli.metrics.results import Calibration, Interval
from coldstart_cli.metrics.significance import by_origin, n_origins

Place = TypeVar("Place", int, float)


def interval(
    values: Mapping[str, float], confidence: float, origins: Mapping[str, str | None] | None = None
) -> Interval:
    """mean +- t_(n-1) sd / sqrt(n) over tasks, or over their origins as `significance.by_origin` says.

    With one value, or one that is not finite, the half-width is infinite.

    Args:
        values: of each task.
        origins: of each task that has one; no others where it is None.
    """
    n, of_task = len(values), [(origins or {}).get(task) for task in values]
    groups = n_origins(of_task)
    if n < 2 or not np.all(np.isfinite(list(values.values()))):
        return Interval(sum(values.values()) / n if n else math.nan, math.inf, n, groups)
    table = by_origin(np.asarray(list(values.values())), of_task)
    # scipy.special rather than scipy.stats, which takes several times as long to import.
    quantile = stdtrit(len(table) - 1, 0.5 + confidence / 2)
    half_width = float(quantile * np.std(table, ddof=1) / math.sqrt(len(table)))
    return Interval(float(np.mean(list(values.values()))), half_width, n, groups)


def paired_gain(
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    higher_is_better: bool,
    confidence: float,
    origins: Mapping[str, str | None] | None = None,
) -> Interval:
    """How much better `ours` is, as a mean over the tasks of both; positive is better for every metric."""
    sign = 1.0 if higher_is_better else -1.0
    # Sorted: the order of a set may differ between processes, and with it the rounding of a sum.
    shared = sorted(ours.keys() & theirs.keys())
    return interval({task: sign * (ours[task] - theirs[task]) for task in shared}, confidence, origins)


def origins_of(records: Iterable[Score]) -> dict[str, str | None]:
    """task -> its origin, or None."""
    return {record.task: record.origin for record in records}


def area_under(curve: Mapping[Place, float]) -> float:
    """The mean height of the curve over its steps (or other places), by the trapezoidal rule."""
    steps = sorted(curve)
    if len(steps) == 1:
        return curve[steps[0]]
    heights = [curve[step] for step in steps]
    # Divided by the width: curves over different steps, such as 0-5 and 0-10, can then be compared.
    return float(np.trapezoid(heights, steps)) / (steps[-1] - steps[0])


def steps_to(curve: Mapping[int, float], share: float) -> int | None:
    """The first step at which the curve has gone `share` of the way from its start to its end.

    Measured along the way from the start, so that it serves falling metrics (mse) and rising ones alike. None
    where an end of the curve is not finite.
    """
    steps = sorted(curve)
    start, end = curve[steps[0]], curve[steps[-1]]
    if start == end:
        return steps[0]
    # With nan at an end every comparison is false, and so there is no such step.
    return next((s for s in steps if (curve[s] - start) / (end - start) >= share), None)


def label_efficiency(target: float, curve: Mapping[int, float], higher_is_better: bool) -> float:
    """Shots at which the baseline's curve over k reaches `target`, by linear interpolation.

    Infinite where the curve does not reach it; the smallest k where the curve starts there.
    """
    sign = 1.0 if higher_is_better else -1.0
    shots = sorted(curve)
    if sign * curve[shots[0]] >= sign * target:
        return float(shots[0])
    for low, high in pairwise(shots):
        if sign * curve[high] >= sign * target:
            # Between two measured k the curve is taken as a straight line.
            return low + (high - low) * (target - curve[low]) / (curve[high] - curve[low])
    return math.inf


def areas_over_shots(values: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """task -> the mean height of its curve over log2(k), by the trapezoidal rule.

    Over the logarithm, so that from 1 to 2 shots counts as much as from 10 to 20. k = 0 has no place on
    that axis, and the baseline no value there: it is left out.

    Args:
        values: k_shot -> task -> value after adaptation. Tasks that some k >= 1 lacks are left out.
    """
    shots = [k for k in values if k > 0]
    shared = set.intersection(*(set(values[k]) for k in shots)) if shots else set()
    return {task: area_under({math.log2(k): values[k][task] for k in shots}) for task in sorted(shared)}


def shots_to(curve: Mapping[int, float], share: float, higher_is_better: bool) -> float:
    """Shots at which the curve over k >= 1 has gone `share` of the way from its first k to its last.

    By linear interpolation, as `label_efficiency`; the first k where more labels do not help.
    """
    shots = sorted(k for k in curve if k > 0)
    start, end = curve[shots[0]], curve[shots[-1]]
    return label_efficiency(start + share * (end - start), {k: curve[k] for k in shots}, higher_is_better)


def calibration(rows: Sequence[Score]) -> Calibration | None:
    """How far probabilities can be believed, from the rows of one role, split, k_shot and step.

    ECE = sum_m |right_m - confidences_m| / n (Guo et al. 2017, arXiv:1706.04599, equation 3) over the queries
    of all tasks together: over one task's few queries it would be far too high (Roelofs et al. 2022,
    arXiv:2012.08668). It is nan where an answer was not finite.

    Returns:
        Means over tasks, and the ECE; None for rows without probabilities, such as those of a regression.
    """
    believed = [row.believed for row in rows if row.believed is not None]
    if not rows or len(believed) < len(rows):
        return None
    ece = math.nan
    if all(of_task.confidence_bins is not None for of_task in believed):
        sums = pooled_bins(rows).values()
        ece = sum(abs(right - sure) for _, sure, right in sums) / sum(n for n, _, _ in sums)
    return Calibration(
        nll=float(np.mean([row.loss for row in rows])),
        brier=float(np.mean([of_task.brier for of_task in believed])),
        coverage=float(np.mean([of_task.coverage for of_task in believed])),
        set_size=float(np.mean([of_task.set_size for of_task in believed])),
        ece=ece,
    )


def pooled_bins(rows: Iterable[Score]) -> dict[int, tuple[int, float, int]]:
    """Bin of confidence -> (n, sum of confidences, number right) over all rows: a reliability diagram."""
    sums: dict[int, tuple[int, float, int]] = {}
    for row in rows:
        for m, n, sure, right in (row.believed.confidence_bins if row.believed else None) or ():
            before = sums.get(int(m), (0, 0.0, 0))
            sums[int(m)] = (before[0] + int(n), before[1] + sure, before[2] + int(right))
    return dict(sorted(sums.items()))


def choose(records: Sequence[Record], higher_is_better: bool) -> tuple[str, int]:
    """The (variant, adaptation step) with the best mean on validation tasks; the earliest among equals."""
    sign = 1.0 if higher_is_better else -1.0
    rows = [r for r in records if r.split == "validation"]
    means = {
        (variant, step): sign * mean
        for variant in dict.fromkeys(r.variant for r in rows)
        for step, mean in mean_by_step([r for r in rows if r.variant == variant]).items()
    }
    # `max` keeps the first of equals: the first variant, and its earliest step.
    return max(means, key=lambda choice: means[choice])


def mean_by_step(records: Iterable[Score]) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for record in records:
        values.setdefault(record.step, []).append(record.value)
    return {step: float(np.mean(v)) for step, v in sorted(values.items())}


def by_task(records: Iterable[Score], step: int) -> dict[str, float]:
    """task -> its value at `step`."""
    return {r.task: r.value for r in records if r.step == step}


def reported(records: Sequence[Record], step: int) -> list[Record]:
    """The rows that a result is of: at the steps that tasks chose themselves, or else all at `step`."""
    chosen = [r for r in records if r.chosen]
    return chosen or [r for r in records if r.step == step]


def counted_steps(records: Iterable[Record]) -> dict[int, int] | None:
    """Step -> how many tasks chose it themselves, by step; None where validation tasks chose for all."""
    counts = Counter(r.step for r in records if r.chosen)
    return dict(sorted(counts.items())) or None


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p95 in milliseconds."""
    p50, p95 = np.percentile(np.asarray(seconds) * 1000, [50, 95])
    return {"p50_ms": float(p50), "p95_ms": float(p95)}


def bank_digest(task_hashes: Sequence[str]) -> str:
    """Sixteen hexadecimal digits over the `task_hash` of tasks 0, 1, ..., in order."""
    return digest(["\n".join(task_hashes)])
