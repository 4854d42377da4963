"""Optimizers are torch's own with the values given, and are found again in the modules that keep them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coldstart_cli.training.optimizers import optimizers
from tests.kit.plain_optimizers import plain_adam, plain_sgd


def test_optimizers_are_torchs_with_the_values_given() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    adam = plain_adam(beta1=0.5, beta2=0.6, weight_decay=0.1)([parameter])
    assert isinstance(adam, torch.optim.Adam)
    assert (adam.defaults["betas"], adam.defaults["weight_decay"]) == ((0.5, 0.6), 0.1)
    sgd = plain_sgd(momentum=0.8, nesterov=True, weight_decay=0.2)([parameter])
    assert isinstance(sgd, torch.optim.SGD)
    assert [sgd.defaults[n] for n in ("momentum", "nesterov", "weight_decay")] == [0.8, True, 0.2]
    with pytest.raises(ValueError, match=r"^nesterov: needs momentum"):
        plain_sgd(nesterov=True)


def test_parameters_that_do_not_learn_are_left_out() -> None:
    moving, frozen = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1), requires_grad=False)
    (group,) = plain_adam()([moving, frozen]).param_groups
    assert [id(parameter) for parameter in group["params"]] == [id(moving)]


def test_a_share_of_the_steps_ends_the_schedule_earlier() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = plain_sgd(n_steps=10, schedule="linear")([parameter], share=0.5)
    seen = []
    for _ in range(6):
        parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02, 1e-5])


def test_optimizers_of_a_strategy_are_named_by_where_they_are_kept() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            self.steps = plain_sgd()([self.weight])

    class Learner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()
            self.optimizer = plain_adam()(self.parameters())
            self.rate = 0.1

    learner = Learner()
    assert dict(optimizers(learner)) == {  # type: ignore[arg-type]
        "optimizer": learner.optimizer,
        "inner.steps": learner.inner.steps,
    }
