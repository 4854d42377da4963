"""From records to the first three cold-start evaluations; times are measured elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from coldstart_cli.metrics.measures import (
    area_under,
    areas_over_shots,
    by_task,
    calibration,
    counted_steps,
    interval,
    label_efficiency,
    mean_by_step,
    origins_of,
    paired_gain,
    reported,
    shots_to,
    steps_to,
)
from coldstart_cli.metrics.names import ABLATION, CONSTANT, SIMILARITY
from coldstart_cli.metrics.records import Record
from coldstart_cli.metrics.results import (
    Findings,
    Interval,
    Outcome,
    OverShots,
    RoleOverShots,
    Shot,
    Similarity,
)
from coldstart_cli.metrics.strategy_notes import mean_notes, similarity_check


def summarise(
    records: Sequence[Record],
    chosen: Mapping[str, Mapping[int, int]],
    *,
    higher_is_better: bool,
    confidence: float,
) -> Findings:
    """The first three evaluations for each k.

    Args:
        chosen: role -> k_shot -> the adaptation step that validation tasks chose.
    """
    shots = {
        k: _one_shot(
            [r for r in records if r.k_shot == k],
            {role: s[k] for role, s in chosen.items() if k in s},
            higher_is_better,
            confidence,
        )
        for k in sorted({r.k_shot for r in records})
    }
    curve = {k: shot.baseline.after.mean for k, shot in shots.items() if shot.baseline is not None}
    for k in curve:
        # The baseline's curve over k has to be complete before the shots that it needs can be read off.
        needed = label_efficiency(shots[k].new.after.mean, curve, higher_is_better)
        shots[k] = replace(shots[k], baseline_shots=needed)
    return Findings(shots, _over_shots(records, chosen, higher_is_better, confidence))


def _over_shots(
    records: Sequence[Record],
    chosen: Mapping[str, Mapping[int, int]],
    higher_is_better: bool,
    confidence: float,
) -> OverShots | None:
    """The curve over k >= 1, after adaptation, for each role; None where it has fewer than two points."""
    shots = sorted(k for k in chosen["strategy"] if k > 0)
    if len(shots) < 2:
        return None
    found: dict[str, RoleOverShots] = {}
    origins = origins_of(records)
    areas: dict[str, dict[str, float]] = {}
    for role, steps in chosen.items():
        rows = [r for r in records if (r.role, r.split) == (role, "new")]
        values = {
            k: {r.task: r.value for r in reported([r for r in rows if r.k_shot == k], steps[k])}
            for k in shots
        }
        areas[role] = areas_over_shots(values)
        means = {k: float(np.mean(list(of.values()))) for k, of in values.items()}
        # Two points say nothing about the curve between them, so neither would the shots to a share of it.
        reached = shots_to(means, 0.95, higher_is_better) if len(shots) > 2 else math.inf
        area = interval(areas[role], confidence, origins)
        found[role] = RoleOverShots(area, reached if math.isfinite(reached) else None)
    gain = None
    if "baseline" in areas:
        gain = paired_gain(areas["strategy"], areas["baseline"], higher_is_better, confidence, origins)
    return OverShots(shots, found["strategy"], found.get("baseline"), gain)


def _one_shot(
    records: Sequence[Record], step: Mapping[str, int], higher_is_better: bool, confidence: float
) -> Shot:
    def part(role: str, split: str) -> list[Record]:
        return [r for r in records if r.role == role and r.split == split]

    ours = step["strategy"]
    new, source_test = part("strategy", "new"), part("strategy", "source_test")
    base = part("baseline", "new") if "baseline" in step else []
    after = _outcome(new, ours, confidence)
    source = _outcome(source_test, ours, confidence) if source_test else None
    theirs = by_task(base, step["baseline"]) if base else {}
    own = {r.task: r.value for r in reported(new, ours)}
    gain = None
    if base:
        gain = paired_gain(own, theirs, higher_is_better, confidence, origins_of(records))
    others = [r for r in records if r.split == "new" and r.role not in ("strategy", "baseline")]
    ablated = [r for r in others if r.role.startswith(ABLATION)]
    others = [r for r in others if not r.role.startswith(ABLATION)]
    # The constant answer takes no step, and is there before the first alone.
    at = {CONSTANT: min((r.step for r in others if r.role == CONSTANT), default=ours)}
    return Shot(
        source_test=source,
        new=after,
        baseline=_outcome(base, step["baseline"], confidence) if base else None,
        gap=None if source is None else _gap(source.after, after.after),
        gain=gain,
        beside={
            role: _outcome([r for r in others if r.role == role], at.get(role, ours), confidence)
            for role in dict.fromkeys(r.role for r in others)
        },
        ablations={
            role.removeprefix(ABLATION): paired_gain(
                by_task([r for r in ablated if r.role == role], ours),
                own,
                higher_is_better,
                confidence,
                origins_of(new),
            )
            for role in dict.fromkeys(r.role for r in ablated)
        }
        or None,
        notes=mean_notes([r for r in new if r.notes], ours),
        similarity=_similarity(new, others, theirs, ours, higher_is_better),
    )


def _gap(source: Interval, new: Interval) -> Interval:
    # Source and new tasks are different tasks, so the difference is not paired: variances add.
    width = math.hypot(source.half_width, new.half_width)
    origins = [one.origins for one in (source, new) if one.origins is not None]
    return Interval(source.mean - new.mean, width, min(source.n, new.n), min(origins, default=None))


def _similarity(
    new: Sequence[Record],
    others: Sequence[Record],
    baseline: Mapping[str, float],
    step: int,
    higher_is_better: bool,
) -> Similarity | None:
    # Before the first step nothing is known of the task, so no similarity is noted then.
    similar = [r for r in new if any(name.startswith(SIMILARITY) for name in r.notes)]
    at = min((r.step for r in similar if r.step >= step), default=step)
    beside = {(r.role, r.task): r.value for r in others if r.step == at}
    noted = [(r.task, r.notes) for r in similar if r.step == at]
    return similarity_check(noted, beside, baseline, higher_is_better)


def _outcome(rows: Sequence[Record], step: int, confidence: float) -> Outcome:
    means = mean_by_step(rows)
    start = min(means)
    origins = origins_of(rows)
    curve = {s: interval(by_task(rows, s), confidence, origins) for s in means}
    after = interval({r.task: r.value for r in reported(rows, step)}, confidence, origins)
    return Outcome(
        step=step,
        before=curve[start],
        after=after,  # of no task where what is beside was not there at this step
        curve=curve,
        area=area_under(means),
        # Up to the chosen step: where later ones overfit, the end of the whole curve is not the goal.
        steps_to_95=steps_to({s: value for s, value in means.items() if s <= step}, 0.95),
        calibration=calibration(reported(rows, step)),
        metrics=_metrics(reported(rows, step), confidence),
        metrics_before=_metrics([r for r in rows if r.step == start], confidence),
        chosen_by_tasks=counted_steps(rows),
    )


def _metrics(rows: Sequence[Record], confidence: float) -> dict[str, Interval]:
    """The objective's other metrics, of one row a task."""
    of_task = {r.task: r.metrics for r in rows}
    names = dict.fromkeys(name for metrics in of_task.values() for name in metrics)
    return {
        name: interval({t: of[name] for t, of in of_task.items()}, confidence, origins_of(rows))
        for name in names
    }
