"""Schedules of the learning rate: a share of the peak that rises, stays or falls, kept in the state."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from coldstart_cli.training.schedules import Schedule, lr_factor
from tests.kit.plain_optimizers import plain_adam, plain_sgd

schedules = st.sampled_from(["constant", "cosine", "linear"])


@given(st.integers(1, 2000), st.integers(0, 3000), schedules, st.floats(0, 1))
def test_lr_factor_is_a_share(n_steps: int, step: int, schedule: Schedule, warmup: float) -> None:
    assert 0 < lr_factor(step, n_steps=n_steps, schedule=schedule, warmup=warmup) <= 1


@given(st.integers(2, 500), schedules, st.floats(0, 1))
def test_lr_factor_rises_in_the_warm_up_and_never_after(
    n_steps: int, schedule: Schedule, warmup: float
) -> None:
    factors = [lr_factor(s, n_steps=n_steps, schedule=schedule, warmup=warmup) for s in range(n_steps)]
    rising = [f for s, f in enumerate(factors) if s < warmup * n_steps]
    after = factors[len(rising) :]
    assert all(low < high for low, high in pairwise(rising))
    assert all(high >= low for high, low in pairwise(after))
    if schedule == "constant":
        assert set(after) <= {1.0}


@given(st.integers(100, 1000), st.floats(0, 0.9))
def test_lr_factor_of_cosine_is_half_at_the_middle_and_ends_near_zero(n_steps: int, warmup: float) -> None:
    rising = warmup * n_steps
    assume(n_steps - rising > 20)

    def factor(step: float) -> float:
        return lr_factor(step, n_steps=n_steps, schedule="cosine", warmup=warmup)  # type: ignore[arg-type]

    assert factor(rising) == pytest.approx(1.0)
    assert factor((n_steps + rising) / 2) == pytest.approx(0.5)
    assert factor(n_steps) == factor(10 * n_steps) == 1e-4
    assert factor(n_steps - 1) < 0.01


def rates(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, n: int) -> list[float]:
    seen = []
    for _ in range(n):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


@pytest.mark.parametrize("make", [plain_sgd, plain_adam])
def test_schedule_survives_a_state_dict(make: Callable[..., Any]) -> None:
    factory = make(n_steps=10, schedule="cosine", warmup=0.3)
    parameter = nn.Parameter(torch.zeros(2))
    whole = rates(factory([parameter]), parameter, 10)
    expected = [0.1 * lr_factor(s, n_steps=10, schedule="cosine", warmup=0.3) for s in range(10)]
    assert whole == pytest.approx(expected)
    parameter = nn.Parameter(torch.zeros(2))
    first = factory([parameter])
    begun = rates(first, parameter, 4)
    second = factory([parameter])
    second.load_state_dict(first.state_dict())
    assert begun + rates(second, parameter, 6) == whole


@pytest.mark.parametrize(("clip_norm", "moved"), [(None, 5.0), (1.0, 1.0), (100.0, 5.0)])
def test_clip_bounds_the_norm_of_the_whole_gradient(clip_norm: float | None, moved: float) -> None:
    parameters = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    optimizer = plain_sgd(lr=1.0, clip_norm=clip_norm)(parameters)
    for parameter, gradient in zip(parameters, (3.0, 4.0), strict=True):
        parameter.grad = torch.tensor([gradient])
    optimizer.step()
    assert torch.cat([p.detach() for p in parameters]).norm().item() == pytest.approx(moved, rel=1e-5)
