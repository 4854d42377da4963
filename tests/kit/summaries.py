"""Records and summaries made from values alone; what no test varies is filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from coldstart_cli.metrics.records import Believed, Record
from coldstart_cli.metrics.results import (
    Costs,
    HardwareFacts,
    Names,
    Outcome,
    Shot,
    Summary,
    Times,
    TrainingFacts,
)
from coldstart_cli.metrics.summary import summarise

TRAINING = TrainingFacts(steps=1000, best_step=800, seconds=12.34, examples=80000)


def record(
    role: str, split: str, k: int, task: str, step: int, value: float, variant: str = "", **changes: Any
) -> Record:
    given: dict[str, Any] = {"loss": 0.0, "metrics": {}, "notes": {}, "adapt_seconds": 0.002, **changes}
    return Record(
        role=role, variant=variant, split=split, k_shot=k, task=task, task_hash=task, step=step, value=value,
        **given,
    )  # fmt: skip


def believed(bins: Sequence[Sequence[float]] | None, **others: float) -> Believed:
    return Believed(**{"brier": 0.5, "coverage": 0.5, "set_size": 2.0, **others}, confidence_bins=bins)


def summary(
    rows: Sequence[Record],
    chosen: Mapping[str, Mapping[int, int]],
    *,
    names: Names,
    metric: str = "accuracy",
    **changes: Any,
) -> Summary:
    accuracy = metric == "accuracy"
    found = summarise(rows, chosen, higher_is_better=accuracy, confidence=0.95)
    made = Summary(
        names=names,
        seed=3,
        headline=metric,
        higher_is_better=accuracy,
        units={metric: "%" if accuracy else "", "balanced_accuracy": "%"},
        n_way=5 if accuracy else None,
        n_tasks=2,
        confidence=0.95,
        coverage=0.9,
        transductive=False,
        variants={1: "lr=0.05", 5: "lr=0.1"},
        shots=found.shots,
        over_shots=found.over_shots,
        costs=Costs(
            inference={1: Times(0.5, 0.7), 64: Times(1.5, 2.0)},
            parameters=1234567,
            flops=3400,
            peak_memory=100 * 2**20,
            beside={},
            adaptation_ms=dict.fromkeys(found.shots, 2.5),
        ),
        budgets={},
        hardware=HardwareFacts(
            device="cpu", name=names.strategy, threads=2, precision="fp32", deterministic=True
        ),
        training=TRAINING,
        source={},
        left_out={},
        source_left_out={},
    )
    return replace(made, **changes)


def evaluated(
    *, baseline: bool = True, metric: str = "accuracy", name: str = "maml", **changes: Any
) -> Summary:
    """Of two new and two source tasks at k = 1 and 5, after 0, 1 and 3 steps."""
    rows = [
        record(role, split, k, task, step, 0.2 + 0.1 * step + 0.02 * k + lift)
        for role, split in (("strategy", "new"), ("strategy", "source_test"), ("baseline", "new"))
        for k in (1, 5)
        for task, lift in (("a", 0.0), ("b", 0.05))
        for step in (0, 1, 3)
    ]
    chosen = {"strategy": {1: 1, 5: 3}} | ({"baseline": {1: 3, 5: 3}} if baseline else {})
    names = Names(name, name, name, name if baseline else None)
    return summary(rows, chosen, names=names, metric=metric, **changes)


def with_shots(made: Summary, **changes: Any) -> Summary:
    """The summary with every shot changed; a callable is given k and the shot."""

    def changed(k: int, shot: Shot) -> Shot:
        return replace(shot, **{n: c(k, shot) if callable(c) else c for n, c in changes.items()})

    return replace(made, shots={k: changed(k, shot) for k, shot in made.shots.items()})


def with_outcome(made: Summary, k: int, part: str, **changes: Any) -> Summary:
    """The summary with one outcome (`new`, `baseline`, `source_test`) of one shot changed."""
    outcome: Outcome = getattr(made.shots[k], part)
    shot = replace(made.shots[k], **{part: replace(outcome, **changes)})
    return replace(made, shots={**made.shots, k: shot})
