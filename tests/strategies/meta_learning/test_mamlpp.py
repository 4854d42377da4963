"""Gold tests: the multi-step loss by hand in numpy, its annealing, and the gradient of every rate."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor

from coldstart_cli.core.tasks import Task
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.meta_learning.mamlpp import MAMLPlusPlus, multi_step_weights
from coldstart_cli.tracing.replays import as_written
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]
LINEAR = ("dataset=sinusoid", "model=mlp", "model.hidden=[]", "dataset.k_shot=3")


def made_with(experiment: Make, *overrides: str) -> tuple[MAMLPlusPlus, Task]:
    """A line y = w x + b on a sinusoid: small enough to work by hand."""
    steps = ("strategy.inner_steps=2", "strategy.inner_lr=0.01")
    made = experiment("strategy=mamlpp", *LINEAR, *steps, *overrides)
    strategy = made.strategy
    assert isinstance(strategy, MAMLPlusPlus)
    return strategy, made.source.tasks("train", [0])[0]


def meta_loss(strategy: MAMLPlusPlus, task: Task) -> Tensor:
    weights = {**dict(strategy.network.named_parameters()), "step_weights": strategy.step_weights}
    return strategy._task_loss(same, weights, task.support.objective, task.support, task.query)["loss"]


def by_hand(strategy: MAMLPlusPlus, task: Task, n_steps: int) -> list[float]:
    """Query losses after each step, with the rates of that step for weight and bias."""
    w, b = strategy.network.head.weight.item(), strategy.network.head.bias.item()
    rates = {name: rate.detach().numpy() for name, rate in strategy.rates.items()}
    x, y = (t.numpy()[:, 0] for t in (task.support.inputs, task.support.targets))  # type: ignore[union-attr]
    qx, qy = (t.numpy()[:, 0] for t in (task.query.inputs, task.query.targets))  # type: ignore[union-attr]
    losses = []
    for step in range(n_steps):
        error, last = 2 * (w * x + b - y) / len(x), min(step, 1)
        w, b = w - rates["head/weight"][last] * (error @ x), b - rates["head/bias"][last] * error.sum()
        losses.append(float(((w * qx + b - qy) ** 2).mean()))
    return losses


def with_other_rates(strategy: MAMLPlusPlus) -> None:
    with torch.no_grad():
        strategy.rates["head/weight"].copy_(torch.tensor([0.02, -0.01]))
        strategy.rates["head/bias"].copy_(torch.tensor([0.1, 0.3]))


def test_multi_step_loss_equals_the_sum_by_hand(experiment: Make) -> None:
    strategy, task = made_with(experiment)
    with_other_rates(strategy)
    strategy.step_weights.copy_(torch.tensor([0.3, 0.7]))
    first, second = by_hand(strategy, task, 2)
    assert meta_loss(strategy, task).item() == pytest.approx(0.3 * first + 0.7 * second, rel=1e-4)
    strategy.multi_step = False
    assert meta_loss(strategy, task).item() == pytest.approx(second, rel=1e-4)


def test_new_tasks_take_the_rates_of_each_step_and_then_the_last(experiment: Make) -> None:
    strategy, task = made_with(experiment)
    with_other_rates(strategy)
    losses = []
    for adapted in islice(strategy.adapt(task.support), 1, 4):
        with torch.no_grad():
            outputs = adapted.module(task.query.inputs)
        losses.append(((outputs - task.query.targets) ** 2).mean().item())
    assert losses == pytest.approx(by_hand(strategy, task, 3), rel=1e-4)


def test_every_rate_has_the_gradient_of_finite_differences(experiment: Make) -> None:
    made = experiment("strategy=mamlpp", "model.hidden=4", "model.groups=2", "strategy.inner_steps=2")
    strategy, task = made.strategy.double().train(), made.source.tasks("train", [0])[0]
    assert isinstance(strategy, MAMLPlusPlus)
    strategy.step_weights.copy_(torch.tensor([0.5, 0.5]))
    meta_loss(strategy, task).backward()  # type: ignore[no-untyped-call]
    for rate in list(strategy.rates.values())[::5]:
        for step in range(2):
            values = []
            for sign in (1, -2, 1):
                with torch.no_grad():
                    rate[step] += sign * 1e-6
                values.append(meta_loss(strategy, task).item())
            assert rate.grad is not None
            assert rate.grad[step].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


def test_weights_of_the_steps_move_to_the_last() -> None:
    """As `get_per_step_loss_importance_vector` of the authors' code, written again."""
    for step in (0, 3, 10, 40):
        weights, decay, least = np.ones(5) / 5, 1 / 5 / 10, 0.03 / 5
        for i in range(4):
            weights[i] = max(weights[i] - step * decay, least)
        weights[-1] = min(weights[-1] + step * 4 * decay, 1 - 4 * least)
        assert multi_step_weights(5, step, 10.0).numpy() == pytest.approx(weights, abs=1e-6)
    assert multi_step_weights(3, 0, 0.0).tolist() == [0, 0, 1]


def test_phases_follow_the_outer_step_also_where_a_training_resumes(experiment: Make) -> None:
    shares = ("strategy.multi_step_share=0.5", "strategy.first_order_share=0.25", "training.steps=4")
    made = experiment("strategy=mamlpp", "strategy.meta_batch_size=2", *shares)
    strategy = made.strategy.train()
    assert isinstance(strategy, MAMLPlusPlus)

    def phases(start: int) -> list[tuple[bool, bool]]:
        taken = islice(strategy.fit(made.source, start), 4 - start)
        return [(strategy.second_order, strategy.multi_step) for _ in taken]

    with as_written():
        assert phases(0) == [(False, True), (True, True), (True, False), (True, False)]
        assert phases(2) == [(True, False), (True, False)]
