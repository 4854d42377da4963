"""Records to the first three cold-start evaluations, as summary.json keeps them; times are measured apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from coldstart_cli.metrics.measures import (
    Interval,
    Record,
    area_under,
    areas_over_shots,
    by_task,
    calibration,
    interval,
    label_efficiency,
    mean_by_step,
    paired_gain,
    shots_to,
    steps_to,
)
from coldstart_cli.metrics.strategy_notes import SIMILARITY, mean_notes, similarity_check


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
        calibration, notes: mean before and after, similarity: `similarity_check`}, and `label_efficiency`;
        over_shots: `_over_shots`.
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
    summary["over_shots"] = _over_shots(records, chosen, higher_is_better, confidence)
    if "baseline" in chosen:
        curve = {k: table[k]["baseline"]["after"]["mean"] for k in shots if "baseline" in table[k]}
        for k in curve:
            reached = label_efficiency(table[k]["new"]["after"]["mean"], curve, higher_is_better)
            summary["shots"][str(k)]["baseline_shots"] = reached if math.isfinite(reached) else None
    return summary


def _over_shots(
    records: Sequence[Record],
    chosen: Mapping[str, Mapping[int, int]],
    higher_is_better: bool,
    confidence: float,
) -> dict[str, Any] | None:
    """The curve over k >= 1, after adaptation, for each role; None where it has fewer than two points.

    Returns:
        k_shots; role -> {area: interval over tasks of `areas_over_shots`, shots_to_95: None for two points};
        gain: of the area, paired over tasks.
    """
    shots = sorted(k for k in chosen["strategy"] if k > 0)
    if len(shots) < 2:
        return None
    found: dict[str, Any] = {"k_shots": shots}
    areas: dict[str, dict[str, float]] = {}
    for role, steps in chosen.items():
        rows = [r for r in records if (r["role"], r["split"]) == (role, "new")]
        values = {k: by_task([r for r in rows if r["k_shot"] == k], steps[k]) for k in shots}
        areas[role] = areas_over_shots(values)
        means = {k: float(np.mean(list(of.values()))) for k, of in values.items()}
        # Of two points the share of the way says nothing of the curve between them.
        reached = shots_to(means, 0.95, higher_is_better) if len(shots) > 2 else math.inf
        found[role] = {
            "area": asdict(interval(list(areas[role].values()), confidence)),
            "shots_to_95": reached if math.isfinite(reached) else None,
        }
    if "baseline" in areas:
        gain = paired_gain(areas["strategy"], areas["baseline"], higher_is_better, confidence)
        found["gain"] = asdict(gain)
    return found


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
        "calibration": calibration([r for r in rows if r["step"] == end]),
    }
