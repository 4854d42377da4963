"""Generations: where one ends and what the next begins with."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.distillation.born_again import BornAgain
from coldstart_cli.strategies.transfer.fine_tune import FineTune

Make = Callable[..., Experiment]
THREE = ("strategy=born_again", "strategy.generations=3", "training.steps=7")


def born_again(experiment: Make, *overrides: str) -> tuple[BornAgain, Experiment]:
    made = experiment(*THREE, *overrides)
    assert isinstance(made.strategy, BornAgain)
    return made.strategy.train(), made


def test_generations_begin_where_the_one_before_ends(experiment: Make) -> None:
    strategy, made = born_again(experiment)
    initial = strategy.network.head.weight.detach().clone()
    names, students, teachers, taken = [], [], [], []
    for metrics in islice(strategy.fit(made.source), 7):
        names.append(next(iter(metrics)))
        students.append(strategy.network.head.weight.detach().clone())
        teachers.append(strategy.teacher.head.weight.detach().clone())
        taken.append(strategy.optimizer.param_groups[0]["steps_taken"])
    assert names == [f"generation_{g}_loss" for g in (0, 0, 1, 1, 2, 2, 2)]
    assert taken == [1, 2, 1, 2, 1, 2, 3]  # each has an optimizer of its own
    assert strategy.preparing_steps == 4
    assert all(torch.equal(teacher, students[1]) for teacher in teachers[2:4])
    assert all(torch.equal(teacher, students[3]) for teacher in teachers[4:])
    largest_step = 2 * 0.003  # Adam's first step is no longer than its rate
    assert float((students[2] - initial).abs().max()) <= largest_step
    assert float((students[3] - initial).abs().max()) <= 2 * largest_step


@pytest.mark.parametrize("stop", range(1, 7))
def test_generations_continued_are_the_same_bit_for_bit(experiment: Make, stop: int) -> None:
    through, made = born_again(experiment)
    whole = list(islice(through.fit(made.source), 7))
    first, _ = born_again(experiment)
    half = list(islice(first.fit(made.source), stop))
    second, _ = born_again(experiment)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert half + list(islice(second.fit(made.source, start=stop), 7 - stop)) == whole
    ours, theirs = through.state_dict(), second.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_generation_0_is_a_classifier_trained_on_labels(experiment: Make) -> None:
    strategy, made = born_again(experiment)
    alone = experiment("strategy=finetune", "training.steps=7", "optimizer.schedule=constant")
    assert isinstance(alone.strategy, FineTune)
    first = next(iter(strategy.fit(made.source)))
    plain = next(iter(alone.strategy.train().fit(alone.source)))
    assert first == {f"generation_0_{name}": value for name, value in plain.items()}


def test_state_holds_two_networks_whatever_the_number_of_generations(experiment: Make) -> None:
    strategy, _ = born_again(experiment)
    n_tensors = len(strategy.network.state_dict())
    assert len(strategy.state_dict()) == 2 * n_tensors


def test_generations_need_a_step_each(experiment: Make) -> None:
    with pytest.raises(
        RequestError, match=r"^strategy\.generations: 8 are more than the run's 7 steps; choose"
    ):
        experiment(*THREE, "strategy.generations=8")
