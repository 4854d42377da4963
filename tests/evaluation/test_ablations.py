"""Ablations: a strategy without its parts, answered after the same steps on the same tasks."""

from __future__ import annotations

import pytest

from coldstart_cli.config import composition
from coldstart_cli.evaluation.ablations import ablated
from coldstart_cli.evaluation.scoring import Asked, scored_together
from coldstart_cli.experiment.assembly import Experiment, assemble

pytestmark = pytest.mark.usefixtures("torch_settings")


def made(strategy: str) -> Experiment:
    words = (f"strategy={strategy}", "model=conv4_small", "model.hidden=8", "hardware.threads=1")
    ((_, config),) = composition.points([*words, "dataset.n_way=3", "dataset.k_shot=2"])
    return assemble(config)


def test_ablated_answers_after_every_step() -> None:
    experiment = made("task_encoder")
    task, other = experiment.source.tasks("new", [0, 1])
    answers = ablated(experiment.strategy.eval(), task, other.support, [0, 3], experiment.hardware)
    assert {answer.role for answer in answers} >= {"ablation: swap", "ablation: off"}
    assert {answer.step for answer in answers} == {0, 3}
    assert all(len(answer.outputs) == len(task.query) for answer in answers)


def test_a_strategy_without_ablations_has_none() -> None:
    experiment = made("protonet")
    task, other = experiment.source.tasks("new", [0, 1])
    assert ablated(experiment.strategy.eval(), task, other.support, [0], experiment.hardware) == []


def test_ablations_are_scored_beside_the_strategy_where_they_are_asked_for() -> None:
    experiment = made("film")
    tasks = experiment.source.tasks("new", [0, 1])
    others = {tasks[0].name: tasks[1].support, tasks[1].name: tasks[0].support}
    for asked, roles in ((None, {None}), (others, {None, "ablation: swap", "ablation: off"})):
        scores = scored_together(
            experiment.strategy, tasks, [0], experiment.hardware, beside=True, asked=Asked(others=asked)
        )
        assert all({score.beside for score in of_task} == roles for of_task in scores)
