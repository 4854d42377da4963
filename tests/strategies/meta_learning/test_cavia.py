"""CAVIA against a gradient by hand and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.core.tasks import Task
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.meta_learning.cavia import CAVIA
from coldstart_cli.strategies.meta_learning.film import FiLM
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]


REGRESSION = ("dataset=harder_sinusoids", "model=mlp", "model.hidden=[4]", "dataset.k_shot=3")


def meta_loss(strategy: FiLM | CAVIA, task: Task) -> Tensor:
    weights = dict(strategy.named_parameters())
    return strategy._task_loss(same, weights, task.support.objective, task.support, task.query)["loss"]


def cavia(experiment: Make, *overrides: str) -> tuple[CAVIA, Task]:
    made = experiment(
        "strategy=cavia",
        "strategy.n_context=3",
        "strategy.inner_lr=0.1",
        "strategy.inner_steps=2",
        *overrides,
    )
    strategy = made.strategy.double()
    assert isinstance(strategy, CAVIA)
    return strategy, made.source.tasks("train", [0])[0]


def test_cavia_step_is_the_gradient_by_hand(experiment: Make) -> None:
    strategy, task = cavia(experiment, *REGRESSION)
    layer, head = strategy.network.get_submodule("encoder.layers.0"), strategy.network.head
    assert isinstance(layer, nn.Linear)
    x, y = task.support.inputs.double(), task.support.targets.double()  # type: ignore[union-attr]
    with torch.no_grad():
        z = layer(x)
        hidden, active = torch.relu(z), (z > 0).double()
        outputs = head(hidden)
        error = 2 * (outputs - y) / len(x)
        backward = (error @ head.weight) * active
        slope = torch.cat([(backward * z).sum(0), backward.sum(0), (error.T @ hidden)[0], error.sum(0)])
        context = -0.1 * slope @ strategy.generator.weight
        gamma, beta, weight, bias = torch.split(strategy.generator.weight @ context, [4, 4, 4, 1])
    start, step = (item.changed for item in islice(strategy.adapt(task.support), 2))
    torch.testing.assert_close(start["head.bias"], head.bias.detach())
    expected = {
        "encoder.layers.0.weight": (1 + gamma[:, None]) * layer.weight,
        "encoder.layers.0.bias": (1 + gamma) * layer.bias + beta,
        "head.weight": head.weight + weight,
        "head.bias": head.bias + bias,
    }
    torch.testing.assert_close(dict(step), {name: tensor.detach() for name, tensor in expected.items()})


@pytest.mark.parametrize(
    "overrides",
    [REGRESSION, ("model.hidden=4", "model.groups=2"), ("model.hidden=4", "model.norm=batch_transductive")],
)
def test_cavia_meta_gradient_equals_finite_differences(experiment: Make, overrides: tuple[str, ...]) -> None:
    strategy, task = cavia(experiment, *overrides)
    parameters = list(strategy.parameters())
    gradients = torch.autograd.grad(meta_loss(strategy, task), parameters)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    values, epsilon = [], 1e-8  # so small that no ReLU changes sides
    for sign in (1, -1):
        moved = {
            name: p.detach() + sign * epsilon * d
            for (name, p), d in zip(strategy.named_parameters(), directions, strict=True)
        }
        found = strategy._task_loss(same, moved, task.support.objective, task.support, task.query)
        values.append(float(found["loss"].detach()))
    difference = (values[0] - values[1]) / (2 * epsilon)
    assert abs(slope - difference) <= 1e-6 * abs(difference)


def test_cavia_adapts_as_it_trains(experiment: Make) -> None:
    strategy, task = cavia(experiment, *REGRESSION)
    adapted = list(islice(strategy.adapt(task.support), 3))[-1]
    with torch.no_grad():
        outputs = adapted.module(task.query.inputs)
    error = task.support.objective.loss(outputs, task.query.targets.double())
    torch.testing.assert_close(meta_loss(strategy, task).detach(), error)


def test_cavia_refuses_another_number_of_ways(experiment: Make) -> None:
    with pytest.raises(RequestError, match=r"^strategy: its head was built for 3 outputs .*; train with"):
        experiment("strategy=cavia", "evaluation.n_way=4")
