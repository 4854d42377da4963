"""Choices at the edge of what was tried."""

from __future__ import annotations

from typing import Any

import pytest

from coldstart_cli.config import composition
from coldstart_cli.config.building import build
from coldstart_cli.evaluation.edges import edges, one_task_alone
from coldstart_cli.evaluation.loop import EvaluationPlan
from coldstart_cli.metrics.records import Record, Score, labelled

NAMES = {"strategy": "maml", "baseline": "scratch"}


def found(
    chosen: dict[str, dict[int, tuple[str, int]]], *overrides: str, by_tasks: bool = False
) -> list[str]:
    search = "evaluation.baseline_search={lr: [0.2, 0.05, 0.1]}"
    ((_, config),) = composition.points(
        ["evaluation.steps=[0,5,1]", "evaluation.baseline_steps=[0,10]", search, *overrides]
    )
    plan: Any = build(config["evaluation"], "evaluation", EvaluationPlan, [], {})
    return edges(plan, chosen, NAMES, by_tasks=by_tasks)


def test_choices_within_what_was_tried_are_not_remarked() -> None:
    assert found({"strategy": {1: ("", 1), 5: ("", 0)}, "baseline": {1: ("lr=0.1", 0)}}) == []


def test_the_most_steps_and_the_last_values_are_named_with_what_to_try() -> None:
    chosen = {"strategy": {1: ("", 5), 5: ("", 5)}, "baseline": {1: ("lr=0.2", 0), 5: ("lr=0.05", 10)}}
    assert found(chosen) == [
        "maml: 5 steps, chosen at k=1, 5, are the most that were tried; "
        "try more (evaluation.steps=[0,1,5,10,20])",
        "scratch: 10 steps, chosen at k=5, are the most that were tried; "
        "try more (evaluation.baseline_steps=[0,10,20,40])",
        "scratch: lr 0.05, chosen at k=5, is the smallest that was tried; "
        "try others beyond it (evaluation.baseline_search.lr)",
        "scratch: lr 0.2, chosen at k=1, is the largest that was tried; "
        "try others beyond it (evaluation.baseline_search.lr)",
    ]


@pytest.mark.parametrize("overrides", [("evaluation.steps=[5]",), ("evaluation.steps=[0]",)])
def test_one_number_of_steps_is_no_choice(overrides: tuple[str, ...]) -> None:
    assert found({"strategy": {1: ("", 5)}}, *overrides) == []


def test_steps_that_each_task_chose_and_a_search_of_one_value_have_no_edge() -> None:
    chosen = {"strategy": {1: ("", 5)}, "baseline": {1: ("lr=0.1", 0)}}
    assert found(chosen, "evaluation.baseline_search={lr: [0.1]}", by_tasks=True) == []


def test_new_tasks_that_are_one_are_told() -> None:
    def row(task: str, of: str, value: float, step: int = 0, k: int = 0) -> Record:
        score = Score(
            task=task, task_hash=of, step=step, value=value, loss=0, adapt_seconds=0, metrics={}, notes={}
        )
        return labelled(score, role="strategy", variant="", split="new", k_shot=k)

    same = [row(f"new/{i}", "a", 0.5 + s, step=s) for i in range(3) for s in (0, 1)]
    (line,) = one_task_alone([*same, *(row(f"new/{i}", str(i), 0.5, k=1) for i in range(3))])
    assert line.startswith("At k=0 the 3 new tasks are one and the same: its interval says nothing")
    # Of the same labels and queries, but of other unlabelled examples.
    assert one_task_alone([row("new/0", "a", 0.5), row("new/1", "a", 0.6)]) == []
    assert one_task_alone([row("new/0", "a", 0.5)]) == []
