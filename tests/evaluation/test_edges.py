"""Choices at the edge of what was tried."""

from __future__ import annotations

from typing import Any

import pytest

from coldstart_cli.config import composition
from coldstart_cli.config.building import build
from coldstart_cli.evaluation.edges import edges
from coldstart_cli.evaluation.loop import EvaluationPlan

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
