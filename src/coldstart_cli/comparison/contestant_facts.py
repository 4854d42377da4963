"""What a contestant is and costs, over all its runs; and what it needs in labels."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence

from coldstart_cli.comparison.contestants import Contestant
from coldstart_cli.comparison.findings import AtK, ContestantFacts, Costs, OverShots, Times, Training
from coldstart_cli.metrics import measures, results
from coldstart_cli.metrics.names import CONSTANT
from coldstart_cli.metrics.numbers import is_known, known
from coldstart_cli.metrics.results import Summary, Verdict


def facts(member: Contestant, over: OverShots) -> ContestantFacts:
    """What a contestant is and costs; of several runs the median."""
    own = [] if member.baseline else member.results
    summaries = [result.summary for result in own]
    return ContestantFacts(
        name=member.name,
        strategy=member.strategy,
        model=member.model,
        baseline=member.baseline,
        # Runs of a contestant differ in nothing but their seed, so that the first speaks for all.
        transductive=bool(summaries and summaries[0].transductive),
        seeds=member.seeds,
        runs=sorted({str(result.path) for result in own}),
        costs=_costs([summary.costs for summary in summaries]) if summaries else None,
        hardware=summaries[0].hardware if summaries else None,
        budgets=_budgets(summaries),
        training=None if member.role == CONSTANT else _training(member),
        over_shots=over,
    )


def _costs(runs: Sequence[results.Costs]) -> Costs:
    """A batch size or a k that a run lacks counts for the others."""
    sizes = dict.fromkeys(size for costs in runs for size in costs.inference)
    ks = dict.fromkeys(k for costs in runs for k in costs.adaptation_ms)
    return Costs(
        inference={
            size: _times([costs.inference[size] for costs in runs if size in costs.inference])
            for size in sizes
        },
        parameters=_median(costs.parameters for costs in runs),
        flops=_median(costs.flops for costs in runs),
        peak_memory=_median(costs.peak_memory for costs in runs),
        adaptation_ms={k: _median(costs.adaptation_ms.get(k) for costs in runs) for k in ks},
    )


def _times(runs: Sequence[results.Times]) -> Times:
    return Times(
        p50_ms=_median(times.p50_ms for times in runs),
        p95_ms=_median(times.p95_ms for times in runs),
        calls=_median(times.calls for times in runs),
    )


def _training(member: Contestant) -> Training:
    """A baseline tries each of its variants, and takes no outer step."""
    plans = [result.config["evaluation"] for result in member.results]
    if member.baseline:
        variants = [math.prod(len(values) for values in plan["baseline_search"].values()) for plan in plans]
        reach = _median(max(plan["baseline_steps"]) for plan in plans)
        return Training(steps=0, seconds=None, examples=0, adaptation_steps=reach, trials=_median(variants))
    runs = [result.summary.training for result in member.results]
    return Training(
        steps=_median(run.steps for run in runs),
        seconds=_median(run.seconds for run in runs),
        examples=_median(run.examples for run in runs),
        adaptation_steps=_median(max(plan["steps"]) for plan in plans if "steps" in plan),
        trials=_median(run.trials for run in runs),
    )


def _budgets(summaries: Sequence[Summary]) -> dict[str, Verdict]:
    """Limits that all runs had: kept where every run kept it; the measured value is the median."""
    rows = [summary.budgets for summary in summaries]
    found = {}
    for name in rows[0] if rows else {}:
        own = [row[name] for row in rows if name in row]
        # A limit that some runs did not have says nothing of the contestant.
        if len(own) == len(rows):
            measured = _median(verdict.measured for verdict in own)
            kept = all(verdict.kept for verdict in own)
            found[name] = Verdict(own[0].limit, math.nan if measured is None else measured, kept)
    return found


def _median(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    found = [value for value in values if is_known(value)]
    return plain.median(found) if found else None


def reference_curve(
    name: str, references: Mapping[int, Mapping[str, Contestant]], shots: Mapping[int, AtK]
) -> dict[int, float]:
    """k -> mean of what the contestant's gain is measured against at that k.

    Args:
        references: k -> contestant -> what its gain is measured against.
    """
    means = {k: shots[k].results[of[name].name].mean for k, of in references.items() if name in of}
    return {k: mean for k, mean in means.items() if mean is not None}


def over_shots(
    name: str, shots: Mapping[int, AtK], reference: Mapping[int, float], higher: bool
) -> OverShots:
    """A contestant's curve over k, against that of its reference.

    Args:
        reference: k -> mean of the reference; empty without one.
    """
    all_means = {k: at.results[name].mean for k, at in shots.items() if name in at.results}
    means = {k: mean for k, mean in all_means.items() if mean is not None}
    needed = {
        k: known(measures.label_efficiency(mean, reference, higher)) if reference else None
        for k, mean in means.items()
    }
    axis = {math.log2(k): mean for k, mean in means.items() if k > 0}  # no label has no logarithm
    reached = measures.shots_to(means, 0.95, higher) if axis else math.inf
    return OverShots(measures.area_under(axis) if axis else None, known(reached), needed)
