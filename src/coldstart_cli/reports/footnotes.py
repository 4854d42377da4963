"""How numbers are written, and the lines below the table: shots, similarity, costs, budget, training."""

from __future__ import annotations

import math

from coldstart_cli.metrics.results import Interval, PredictorCosts, Summary, Unit


class Numbers:
    """Shares in percent, others as they are."""

    def __init__(self, unit: Unit) -> None:
        self.percent = unit == "%"

    def number(self, value: float) -> str:
        if not math.isfinite(value):  # it diverged
            return "∞"
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"

    def interval(self, found: Interval | None) -> str:
        if found is None:
            return "-"
        return f"{self.number(found.mean)} ± {self.number(found.half_width)}"

    def signed(self, found: Interval | None) -> str:
        if found is None:
            return "-"
        return f"{'+' if math.isfinite(found.mean) and found.mean >= 0 else ''}{self.interval(found)}"


def footnotes(summary: Summary, numbers: Numbers) -> list[str]:
    """The lines below the table, in order."""
    parts = (_over_shots(summary, numbers), _similarity(summary, numbers), _calibration(summary))
    above = [line for part in parts for line in part]
    return [
        *above,
        *([""] if above else []),
        *_costs(summary),
        *_budgets(summary),
        *_training(summary),
        *_read(summary),
    ]


def _over_shots(summary: Summary, numbers: Numbers) -> list[str]:
    lines = [f"Left out: k={k}, {reason}" for k, reason in summary.left_out.items()]
    lines += [f"Left out: source tasks at k={k}, {reason}" for k, reason in summary.source_left_out.items()]
    over = summary.over_shots
    if over is None:
        return lines
    parts = []
    for name, role in ((summary.names.strategy, over.strategy), (summary.names.baseline, over.baseline)):
        if role is not None:
            at = "" if role.shots_to_95 is None else f" (95 % of the way at {role.shots_to_95:.3g})"
            parts.append(f"{name} {numbers.interval(role.area)}{at}")
    if over.gain is not None:
        parts.append(f"gain {numbers.signed(over.gain)}")
    what = "shots" if summary.n_way else "points"
    shots = ", ".join(map(str, over.k_shots))
    return [*lines, f"Area under the curve over log2 of {shots} {what}: {', '.join(parts)}"]


def _calibration(summary: Summary) -> list[str]:
    if summary.n_way is None and not any(shot.new.calibration for shot in summary.shots.values()):
        return ["No calibration: a predictor of reals gives a mean and no variance"]
    return []


def _similarity(summary: Summary, numbers: Numbers) -> list[str]:
    """A similarity is never shown without what it was worth here."""
    lines = []
    for k, shot in summary.shots.items():
        if not any(name.startswith("similarity of ") for name in shot.notes):
            continue
        check = shot.similarity
        if check is None:
            lines.append(
                f"Similarity at k={k}: its use is not known; a baseline and two source groups would tell"
            )
            continue
        lines.append(
            f"Similarity at k={k}: rank correlation with the real gain {check.rho:+.2f} "
            f"(p = {_known(check.p, '.2g')}, {check.pairs} pairs of source group and new task), within "
            f"a task {_known(check.within_task_rho, '+.2f')}; taking the most similar group loses "
            f"{numbers.number(check.regret)} against the best"
        )
    return lines


def _known(value: float, form: str) -> str:
    return "not known" if math.isnan(value) else format(value, form)


def _costs(summary: Summary) -> list[str]:
    costs, hardware = summary.costs, summary.hardware
    lines = [f"Inference time ({hardware.device}: {hardware.name}, {hardware.threads} threads)"]
    lines += [
        f"  batch {size:>3}: p50 {t.p50_ms:.2f} ms, p95 {t.p95_ms:.2f} ms"
        + ("" if t.calls is None else f" ({t.calls:,} calls)")
        for size, t in costs.inference.items()
    ]
    lines += [_costs_beside(role, other, costs) for role, other in costs.beside.items()]
    adapting = ", ".join(f"{ms:.1f} ms at k={k}" for k, ms in costs.adaptation_ms.items())
    of = "allocated on the device" if hardware.device == "cuda" else "of the whole process"
    lines += [
        f"  adaptation to one task: {adapting}",
        f"  {costs.parameters:,} parameters, {_scaled(costs.flops)}FLOP for one input "
        f"(a multiply-add is 2), peak memory {of} {costs.peak_memory / 2**20:.0f} MiB",
    ]
    return lines


def _costs_beside(role: str, other: PredictorCosts, own: PredictorCosts) -> str:
    times = [
        f"{t.p50_ms:.2f} ms at batch {size} ({t.p50_ms / own.inference[size].p50_ms:.1f}x)"
        for size, t in other.inference.items()
    ]
    return (
        f"  {role}: p50 {', '.join(times)}; {other.parameters:,} parameters "
        f"({other.parameters / own.parameters:.1f}x), {_scaled(other.flops)}FLOP"
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
    def written(value: float) -> str:
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"

    lines = []
    for name, verdict in summary.budgets.items():
        words, unit = LIMITED[name]
        measured, limit = written(verdict.measured), written(verdict.limit)
        lines.append(
            f"  {words} {measured}{unit}, limit {limit}{unit}: {'kept' if verdict.kept else 'BROKEN'}"
        )
    return ["Budget", *lines] if lines else []


def _training(summary: Summary) -> list[str]:
    """The budget that strategies are compared at: steps, and examples as often as they were drawn."""
    training = summary.training
    line = f"Training: {training.steps:,} steps in {training.seconds:.1f} s"
    if training.best_step:
        line += f", best state after {training.best_step:,}"
    if training.steps:
        n = training.examples
        line += f"; {n:,} labelled source examples seen" if n else "; source examples not counted"
    return [line]


def _read(summary: Summary) -> list[str]:
    """Time that this run did not spend is not its own saving: whoever compares runs must know."""
    read = summary.baseline_read
    if read is None:
        return []
    share = "" if read.sets == read.of else f"{read.sets} of {read.of} sets of "
    return [
        f"{share}{summary.names.baseline}'s records and times were read from the cache, measured on "
        f"equal hardware since {read.measured} (evaluation.reuse_baseline=false measures them anew)"
    ]


def _scaled(value: float) -> str:
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size and math.isfinite(value):
            return f"{value / size:.1f} {prefix}"
    return f"{value:g} "
