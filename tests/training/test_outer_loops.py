"""The outer loops and their optimizers: schedules, restarts, one task after another or all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice, pairwise
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from coldstart_cli.core.tasks import Examples, Objective
from coldstart_cli.datasets.benchmarks.synthetic import Sinusoid
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import SGD, Adam
from coldstart_cli.training.outer_loops import counting, episodic, supervised
from coldstart_cli.training.schedules import Schedule, lr_factor

schedules = st.sampled_from(["constant", "cosine"])


@pytest.fixture(scope="module")
def source() -> Sinusoid:
    return Sinusoid(
        bank_seed=0, k_shot=3, n_query=4, n_unlabelled=0, amplitude=[0.1, 2.0], phase=[0.0, 3.0],
        frequency=[1.0, 1.0], x_range=[-2.0, 2.0], noise=0.0, relative_noise=0.0,
        n_functions=None, pool_tasks=5, pool_points=6,
    )  # fmt: skip


def plain_sgd(n_steps: int = 10, **changes: Any) -> SGD:
    values: dict[str, Any] = {
        "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "schedule": "constant",
        "warmup": 0.0, "clip_norm": None,
    }  # fmt: skip
    return SGD(n_steps, **{**values, **changes})


def plain_adam(n_steps: int = 10, **changes: Any) -> Adam:
    values: dict[str, Any] = {
        "lr": 0.1, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0,
        "clip_norm": None,
    }  # fmt: skip
    return Adam(n_steps, **{**values, **changes})


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


def pooled(
    source: Sinusoid, module: nn.Linear, optimizer: torch.optim.Optimizer, start: int, seed: int = 0
) -> Iterator[dict[str, float]]:
    def batch_loss(objective: Objective, examples: Examples) -> dict[str, Tensor]:
        assert isinstance(examples.inputs, Tensor)
        return {"loss": objective.loss(module(examples.inputs), examples.targets)}

    return supervised(
        batch_loss, source.pool("train"), optimizer, batch_size=4, seed=seed, device=torch.device("cpu"),
        start=start,
    )  # fmt: skip


def test_supervised_restarted_equals_going_on(source: Sinusoid) -> None:
    results = []
    for stops in ([6], [1, 5], [3, 3]):
        torch.manual_seed(0)
        module = nn.Linear(1, 1)
        optimizer = plain_adam(n_steps=6)(module.parameters())
        metrics: list[dict[str, float]] = []
        for length in stops:
            metrics += islice(pooled(source, module, optimizer, len(metrics)), length)
        results.append((metrics, module.weight.item(), module.bias.item()))
    assert results[0] == results[1] == results[2]
    assert len(results[0][0]) == 6


def losses(source: Sinusoid, seed: int, n: int) -> list[float]:
    torch.manual_seed(0)
    module = nn.Linear(1, 1)
    steps = pooled(source, module, plain_sgd()(module.parameters()), 0, seed)
    return [step["loss"] for step in islice(steps, n)]


def test_supervised_learns(source: Sinusoid) -> None:
    falling = losses(source, 0, 200)
    assert sum(falling[-50:]) < sum(falling[:50])


def test_supervised_draws_depend_on_the_seed(source: Sinusoid) -> None:
    assert losses(source, 0, 3) == losses(source, 0, 3)
    assert losses(source, 0, 3) != losses(source, 1, 3)


def shifted_line(
    each: Each, weights: Mapping[str, Tensor], objective: Objective, support: Examples, query: Examples
) -> dict[str, Tensor]:
    """A line through the origin, moved by the mean residual of the support set."""

    def score(w: Tensor, x: Tensor, y: Tensor, query_x: Tensor, query_y: Tensor) -> dict[str, Tensor]:
        shift = (y - x.double() * w).mean()
        outputs = query_x.double() * w + shift
        loss = objective.loss(outputs, query_y.double())
        return {"loss": loss, "shift": shift.detach()}

    scores: dict[str, Tensor] = each(score)(
        weights["w"], support.inputs, support.targets.double(), query.inputs, query.targets
    )
    return scores


def trained(
    source: Sinusoid, vectorize: bool, stops: list[int], **changes: Any
) -> tuple[list[dict[str, float]], float]:
    w = nn.Parameter(torch.tensor([0.3], dtype=torch.float64))
    optimizer = plain_sgd(lr=0.05, momentum=0.9, **changes)([w])
    metrics: list[dict[str, float]] = []
    for length in stops:
        steps: Iterator[dict[str, float]] = episodic(
            shifted_line,
            {"w": w},
            source,
            optimizer,
            meta_batch_size=3,
            vectorize=vectorize,
            start=len(metrics),
        )
        metrics += islice(steps, length)
    return metrics, w.item()


def test_episodic_vectorised_equals_looped(source: Sinusoid) -> None:
    looped, w_looped = trained(source, False, [8])
    vectorised, w_vectorised = trained(source, True, [8])
    assert [list(m) for m in looped] == [["loss", "shift"]] * 8
    for one, other in zip(looped, vectorised, strict=True):
        assert one == pytest.approx(other, rel=1e-10, abs=1e-12)
    assert w_looped == pytest.approx(w_vectorised, rel=1e-10)
    assert w_looped != 0.3


@pytest.mark.parametrize("vectorize", [True, False])
def test_episodic_restarted_equals_going_on(source: Sinusoid, vectorize: bool) -> None:
    assert trained(source, vectorize, [6]) == trained(source, vectorize, [2, 3, 1])


def test_episodic_first_metrics_are_the_mean_over_the_first_tasks(source: Sinusoid) -> None:
    losses = []
    for task in source.tasks("train", range(3)):
        x, y = task.support.inputs, task.support.targets
        assert isinstance(x, Tensor)
        assert isinstance(task.query.inputs, Tensor)
        shift = (y.double() - 0.3 * x.double()).mean()
        error = 0.3 * task.query.inputs.double() + shift - task.query.targets.double()
        losses.append((error**2).mean().item())
    metrics, _ = trained(source, False, [1])
    assert metrics[0]["loss"] == pytest.approx(sum(losses) / 3, rel=1e-9)


@pytest.mark.parametrize("vectorize", [True, False])
def test_counting_hears_of_support_and_query_of_every_task(source: Sinusoid, vectorize: bool) -> None:
    counted: list[int] = []
    with counting(counted.append):
        trained(source, vectorize, [4])
    assert counted == [3 * (3 + 4)] * 4  # meta_batch_size x (k_shot + n_query)


def test_counting_hears_of_every_mini_batch_while_it_lasts(source: Sinusoid) -> None:
    module = nn.Linear(1, 1)
    steps = pooled(source, module, plain_sgd()(module.parameters()), 0)
    renamed = ({f"teacher_{name}": value for name, value in step.items()} for step in steps)
    outer: list[int] = []
    inner: list[int] = []
    next(renamed)
    with counting(outer.append):
        next(renamed)
        with counting(inner.append):
            next(renamed)
        next(renamed)
    next(renamed)
    assert (outer, inner) == ([4, 4], [4])


@pytest.mark.parametrize("make", [plain_sgd, plain_adam])
def test_nothing_to_learn_ends_both_loops_at_once(source: Sinusoid, make: Callable[..., Any]) -> None:
    frozen = nn.Linear(1, 1).requires_grad_(False)
    nothing: list[nn.Parameter] = []
    for parameters in (nothing, frozen.parameters()):
        optimizer = make()(parameters)
        assert optimizer.state_dict()["param_groups"][0]["params"] == []
        steps = supervised(
            lambda objective, batch: pytest.fail("a step was taken"),
            source.pool("train"),
            optimizer,
            batch_size=2,
            seed=0,
            device=torch.device("cpu"),
            start=0,
        )
        assert list(steps) == []
        tasks = episodic(
            lambda *args: pytest.fail("a step was taken"),
            {},
            source,
            optimizer,
            meta_batch_size=1,
            vectorize=False,
            start=0,
        )
        assert list(tasks) == []
