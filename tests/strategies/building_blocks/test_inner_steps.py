"""Scores after inner steps, held to the same steps worked out by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from coldstart_cli.core.objectives import Regression
from coldstart_cli.core.tasks import Examples, Inputs
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.inner_steps import scores_after
from coldstart_cli.strategies.meta_learning.maml import MAML
from coldstart_cli.training.inner_loop import sgd
from coldstart_cli.training.meta_batch import same


def outputs_of(weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
    assert isinstance(inputs, Tensor)
    return inputs * weights["slope"] + weights["offset"]


def after(weights: Mapping[str, Tensor], moving: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
    """Of the line y = slope x + offset, with a support set at x = 1, y = 3 and a query at x = 2, y = 5."""
    support, query = (Examples(torch.tensor([[x]]), torch.tensor([[y]])) for x, y in ((1.0, 3.0), (2.0, 5.0)))
    return scores_after(
        same, outputs_of, Regression(1), weights, moving, support, query, rule=sgd(0.25, 0.0), **options
    )


def weights_of() -> dict[str, Tensor]:
    return {name: torch.tensor(1.0, requires_grad=True) for name in ("slope", "offset")}


@pytest.mark.parametrize(("steps", "expected"), [(0, 4.0), (1, 2.25), (2, 1.5625)])
def test_the_query_is_scored_after_so_many_steps(steps: int, expected: float) -> None:
    # The slope alone moves, by half of what the support still lacks: 1, 1.5, 1.75.
    weights = weights_of()
    found = after(weights, {"slope": weights["slope"]}, inner_steps=steps, second_order=False)
    slope = [1.0, 1.5, 1.75][steps]
    assert found["loss"].item() == pytest.approx((5 - (2 * slope + 1)) ** 2)
    assert found["mse"].item() == pytest.approx((5 - (2 * slope + 1)) ** 2)
    assert not found["mse"].requires_grad


@pytest.mark.parametrize(("second_order", "factor"), [(True, 0.5), (False, 1.0)])
def test_the_outer_gradient_flows_through_the_steps_in_second_order(
    second_order: bool, factor: float
) -> None:
    weights = weights_of()
    found = after(weights, {"slope": weights["slope"]}, inner_steps=1, second_order=second_order)
    (gradient,) = torch.autograd.grad(found["loss"], [weights["slope"]])
    # d/d slope of (4 - 2 s1)^2 at s1 = 1.5 is -4; s1 = s + (2 - s) / 2, where first order takes ds1/ds = 1.
    assert gradient.item() == pytest.approx(-4 * factor)


def test_a_standstill_over_a_frozen_encoder_is_said_with_a_rate_that_moves(
    experiment: Callable[..., Experiment],
) -> None:
    def begun(lr: float) -> None:
        made = experiment("strategy=anil", f"strategy.inner_lr={lr}")
        assert isinstance(made.strategy, MAML)
        made.strategy.fit(made.source)  # an encoder that learns can make its features longer: nothing is said
        made.strategy.network.encoder.requires_grad_(False)
        made.strategy.fit(made.source, 3)  # a resumed training says nothing again
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made.strategy.fit(made.source)
        remarks.extend(str(remark.message) for remark in said)

    remarks: list[str] = []
    begun(0.0001)
    assert remarks[0].startswith("strategy.inner_lr: 0.0001 changes the loss") and len(remarks) == 1
    begun(float(remarks[0].rpartition("=")[2]))
    assert len(remarks) == 1
