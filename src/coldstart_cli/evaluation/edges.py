"""Choices at the edge of what was tried: the best may lie beyond, and a comparison is then not fair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coldstart_cli.evaluation.loop import EvaluationPlan
from coldstart_cli.metrics.records import Record


def edges(
    plan: EvaluationPlan,
    chosen: Mapping[str, Mapping[int, tuple[str, int]]],
    names: Mapping[str, str],
    *,
    by_tasks: bool,
) -> list[str]:
    """A sentence for each number of steps or searched value that is the last of those tried.

    No step at all is the fewest that there can be, and no edge.

    Args:
        chosen: role -> k_shot -> (variant such as `lr=0.05`, step), as `evaluate` returns it.
        names: role -> name of the strategy.
        by_tasks: each new task chose the steps of the strategy itself.
    """
    found = []
    for role, choices in chosen.items():
        key, tried = ("steps", plan.steps) if role == "strategy" else ("baseline_steps", plan.baseline_steps)
        most = max(tried)
        ks = [k for k, (_, step) in choices.items() if step == most > min(tried)]
        if ks and not (by_tasks and role == "strategy"):
            more = ",".join(map(str, sorted({*tried, 2 * most, 4 * most})))
            found.append(
                f"{names[role]}: {most} steps, chosen {_at(ks)}, are the most that were tried; "
                f"try more (evaluation.{key}=[{more}])"
            )
        if role == "baseline":
            found += [
                line for key in sorted(plan.baseline_search) for line in _values(plan, key, choices, names)
            ]
    return found


def one_task_alone(records: Sequence[Record]) -> list[str]:
    """A sentence for each k at which all new tasks are one, as draws of no label are: no spread can show."""
    found = []
    for k in sorted({record.k_shot for record in records}):
        new = [r for r in records if (r.role, r.split, r.k_shot) == ("strategy", "new", k)]
        tasks = {record.task for record in new}
        values = {(record.step, record.value) for record in new}
        if (
            len(tasks) > 1
            and len({r.task_hash for r in new}) == 1
            and len(values) == len({r.step for r in new})
        ):
            found.append(
                f"At k={k} the {len(tasks)} new tasks are one and the same: its interval says nothing, and "
                "that of other queries is wider"
            )
    return found


def _values(
    plan: EvaluationPlan, key: str, choices: Mapping[int, tuple[str, int]], names: Mapping[str, str]
) -> list[str]:
    tried = plan.baseline_search[key]
    if len(set(tried)) < 2:  # one value is no search
        return []
    found = []
    for value, word in ((min(tried), "smallest"), (max(tried), "largest")):
        ks = [k for k, (variant, _) in choices.items() if f"{key}={value:g}" in variant.split(",")]
        if ks:
            found.append(
                f"{names['baseline']}: {key} {value:g}, chosen {_at(ks)}, is the {word} that was tried; "
                f"try others beyond it (evaluation.baseline_search.{key})"
            )
    return found


def _at(ks: Sequence[int]) -> str:
    return f"at k={', '.join(map(str, ks))}"
