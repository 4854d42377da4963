"""The number of outer steps that draw a given number of labelled source examples."""

from __future__ import annotations

import pytest
import torch

from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.runs.run import run_name

SMALL = ("experiment=smoke", "model=conv4_small", "hardware=cpu", "hardware.threads=1", "baseline=null")
pytestmark = pytest.mark.usefixtures("torch_settings")


def made(*overrides: str) -> Experiment:
    ((_, config),) = composition.points([*SMALL, *overrides])
    return assemble(config)


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        # 8 tasks of 5 ways, 1 + 5 examples a class: 240 a step
        (("strategy=maml", "training.examples=1000"), 4),
        (("strategy=maml", "training.examples=960"), 4),
        (("strategy=maml", "training.examples=959"), 3),
        (("strategy=finetune", "training.examples=1000"), 15),  # 64 a step
        (("strategy=scratch", "training.examples=1000"), 20),  # takes none, whatever the number
    ],
)
def test_steps_are_the_most_that_draw_no_more(overrides: tuple[str, ...], steps: int) -> None:
    experiment = made(*overrides)
    assert experiment.training.steps == steps == experiment.config["training"]["steps"]


def test_phases_that_draw_differently_are_counted_each() -> None:
    experiment = made("strategy=align", "training.examples=3000")
    # 31 steps of 64 and 8 of 4 tasks with 30: 2944; of 40 steps 32 would be the source model's, 3008
    assert experiment.training.steps == 39


def test_counting_leaves_the_initial_weights_as_they_are() -> None:
    plain = made("strategy=maml", "training.steps=4").strategy.state_dict()
    counted = made("strategy=maml", "training.examples=1000").strategy.state_dict()
    assert all(torch.equal(counted[name], value) for name, value in plain.items())


def test_less_than_a_step_and_steps_without_a_size_are_refused() -> None:
    with pytest.raises(
        RequestError, match=r"training\.examples: 200 is less than the 240 .*; give 240 or more"
    ):
        made("strategy=maml", "training.examples=200")


def test_a_run_is_named_by_the_examples_and_not_by_the_steps_they_come_to() -> None:
    def name(*overrides: str) -> str:
        ((_, config),) = composition.points([*SMALL, "strategy=maml", *overrides])
        return run_name(config, "x")

    assert name("training.examples=1000") == name("training.examples=1000", "training.steps=7")
    assert name("training.examples=1000") != name("training.examples=1001") != name()
    assert name("training.trials=20") == name()
    experiment = made("strategy=maml", "training.examples=1000")
    assert run_name(experiment.config, "x") == name("training.examples=1000")
