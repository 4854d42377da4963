"""The lines below the table: shots, similarity, costs, budget, training."""

from __future__ import annotations

from coldstart_cli.metrics.names import CONSTANT, SIMILARITY
from coldstart_cli.metrics.numbers import (
    Numbers,
    correlation,
    duration,
    mebibytes,
    p_value,
    scaled,
    significant,
    told_apart,
)
from coldstart_cli.metrics.results import PredictorCosts, Summary


def numbers_of(summary: Summary) -> Numbers:
    """The writer of a summary's headline."""
    return Numbers.of(summary.unit == "%", [shot.new.after.half_width for shot in summary.shots.values()])


def footnotes(summary: Summary, numbers: Numbers) -> list[str]:
    """The lines below the table, in order."""
    parts = (
        _choice(summary),
        _behind_constant(summary, numbers),
        _over_shots(summary, numbers),
        _similarity(summary, numbers),
        _calibration(summary),
    )
    above = [line for part in parts for line in part]
    return [
        *above,
        *([""] if above else []),
        *_costs(summary),
        *_budgets(summary),
        *_training(summary),
        *_read(summary),
    ]


def _choice(summary: Summary) -> list[str]:
    """How the number of steps was chosen, where it was not by validation tasks, and choices at an edge."""
    if not any(shot.new.chosen_by_tasks for shot in summary.shots.values()):
        return list(summary.edges or ())
    return [
        *(summary.edges or ()),
        "Validation tasks are not like the new ones here, so each new task chose its steps itself: by "
        "cross-validation on its labels from two a class on, else by the mutual information of inputs and "
        "answers on its unlabelled examples, else the last",
    ]


def _behind_constant(summary: Summary, numbers: Numbers) -> list[str]:
    """A regression that does worse than no model at all is the first thing that a reader must know."""
    found = []
    for k, shot in summary.shots.items():
        plain = shot.beside.get(CONSTANT)
        if plain is None:
            continue
        lost = shot.new.after.mean - plain.after.mean
        if (-lost if summary.higher_is_better else lost) > 0:
            found.append(
                f"{summary.names.strategy} does worse than the mean of the task's own labels at k={k} "
                f"({numbers.value(shot.new.after.mean)} against {numbers.value(plain.after.mean)}): label "
                "more examples, or predict that mean"
            )
    return found


def _over_shots(summary: Summary, numbers: Numbers) -> list[str]:
    lines = [f"Left out: k={k}, {reason}" for k, reason in summary.left_out.items()]
    lines += [f"Left out: source tasks at k={k}, {reason}" for k, reason in summary.source_left_out.items()]
    over = summary.over_shots
    if over is None:
        return lines
    parts = []
    for name, role in ((summary.names.strategy, over.strategy), (summary.names.baseline, over.baseline)):
        if role is not None:
            at = "" if role.shots_to_95 is None else f" (95 % of the way at {significant(role.shots_to_95)})"
            parts.append(f"{name} {numbers.interval(role.area)}{at}")
    if over.gain is not None:
        parts.append(f"gain {numbers.interval(over.gain, signed=True)}")
    what = "shots" if summary.n_way else "points"
    shots = ", ".join(map(str, over.k_shots))
    return [*lines, f"Area under the curve over log2 of {shots} {what}: {', '.join(parts)}"]


def _calibration(summary: Summary) -> list[str]:
    # A strategy that knows its deviations has the coverage of its intervals among the metrics.
    believed = any(shot.new.calibration or shot.new.metrics for shot in summary.shots.values())
    if summary.n_way is None and not believed:
        return ["No calibration: a predictor of reals gives a mean and no variance"]
    return []


def _similarity(summary: Summary, numbers: Numbers) -> list[str]:
    """A similarity is never shown without what it was worth here."""
    lines = []
    for k, shot in summary.shots.items():
        # A strategy notes one for each source group; without any, there is nothing to judge.
        if not any(name.startswith(SIMILARITY) for name in shot.notes):
            continue
        check = shot.similarity
        if check is None:
            lines.append(
                f"Similarity at k={k}: its use is not known; a baseline and two source groups would tell"
            )
            continue
        lines.append(
            f"Similarity at k={k}: rank correlation with the real gain {correlation(check.rho)} "
            f"({p_value(check.p, 'p')}, {check.pairs} pairs of source group and new task), within "
            f"a task {correlation(check.within_task_rho, 'not known')}; taking the most similar group "
            f"loses {numbers.loss(check.regret)} against the best"
        )
        if check.constant_rho is not None and check.constant_regret is not None:
            lines.append(
                f"  The best ranking that is the same for every task: within a task "
                f"{correlation(check.constant_rho, 'not known')}, its first loses "
                f"{numbers.loss(check.constant_regret)}"
            )
    return lines


def _costs(summary: Summary) -> list[str]:
    costs, hardware = summary.costs, summary.hardware
    lines = [f"Inference time ({hardware.device}: {hardware.name}, {hardware.threads} threads)"]
    lines += [
        f"  batch {size:>3}: p50 {duration(t.p50_ms)} ms, p95 {duration(t.p95_ms)} ms"
        + ("" if t.calls is None else f" ({t.calls:,} calls)")
        for size, t in costs.inference.items()
    ]
    lines += [_costs_beside(role, other, costs) for role, other in costs.beside.items()]
    adapting = ", ".join(f"{duration(ms)} ms at k={k}" for k, ms in costs.adaptation_ms.items())
    # On a GPU torch counts its own memory; elsewhere only the whole process can be asked.
    of = "allocated on the device" if hardware.device == "cuda" else "of the whole process"
    lines += [
        f"  adaptation to one task: {adapting}",
        f"  {costs.parameters:,} parameters, {scaled(costs.flops, 'FLOP')} for one input "
        f"(a multiply-add is 2), peak memory {of} {mebibytes(costs.peak_memory)} MiB",
    ]
    return lines


def _costs_beside(role: str, other: PredictorCosts, own: PredictorCosts) -> str:
    times = [
        f"{duration(t.p50_ms)} ms at batch {size} ({t.p50_ms / own.inference[size].p50_ms:.1f}x)"
        for size, t in other.inference.items()
    ]
    return (
        f"  {role}: p50 {', '.join(times)}; {other.parameters:,} parameters "
        f"({other.parameters / own.parameters:.1f}x), {scaled(other.flops, 'FLOP')}"
    )


LIMITED = {
    "p50_ms": ("p50 at batch 1", " ms"),
    "p95_ms": ("p95 at batch 1", " ms"),
    "adaptation_ms": ("adaptation with the most shots", " ms"),
    "parameters": ("parameters", ""),
    "flops": ("operations for one input", " FLOP"),
    "peak_memory_mib": ("peak memory", " MiB"),
}
"""Limit -> its words and its unit."""


def _budgets(summary: Summary) -> list[str]:
    lines = []
    for name, verdict in summary.budgets.items():
        words, unit = LIMITED[name]
        measured, limit = told_apart(verdict.measured, verdict.limit)
        lines.append(
            f"  {words} {measured}{unit}, limit {limit}{unit}: {'kept' if verdict.kept else 'BROKEN'}"
        )
    return ["Budget", *lines] if lines else []


def _training(summary: Summary) -> list[str]:
    """The budget that strategies are compared at: steps, and examples as often as they were drawn."""
    training = summary.training
    line = f"Training: {training.steps:,} steps in {duration(training.seconds)} s"
    if training.best_step:
        line += f", best state after {training.best_step:,}"
    elif training.steps:
        line += ", best state before the first: by validation tasks no step improved on the untrained network"
    if training.steps:
        n = training.examples
        line += f"; {n:,} labelled source examples seen" if n else "; source examples not counted"
    trials = training.trials
    return [line, f"Search behind the settings: {'not known' if trials is None else f'{trials:,} trials'}"]


def _read(summary: Summary) -> list[str]:
    """Time that was not spent because another run had measured: a reader who compares runs must know."""
    read = summary.baseline_read
    if read is None:
        return []
    share = "" if read.sets == read.of else f"{read.sets} of {read.of} sets of "
    return [
        f"{share}{summary.names.baseline}'s records and times were read from the cache, measured on "
        f"equal hardware since {read.measured} (evaluation.reuse_baseline=false measures them anew)"
    ]
