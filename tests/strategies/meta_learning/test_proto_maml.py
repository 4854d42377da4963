"""The head by prototypes, inner steps worked by hand, and meta-gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Task
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.meta_learning.proto_maml import ProtoMAML
from coldstart_cli.strategies.meta_learning.protonet import NearestPrototype
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]


def made_with(experiment: Make, *overrides: str) -> tuple[ProtoMAML, Task]:
    made = experiment(
        "strategy=proto_maml", "model.hidden=4", "model.groups=2", "dataset.k_shot=2", *overrides
    )
    strategy = made.strategy.double().train()
    assert isinstance(strategy, ProtoMAML)
    return strategy, made.source.tasks("train", [0])[0]


def meta_loss(strategy: ProtoMAML, task: Task) -> Tensor:
    weights = dict(strategy.named_parameters())
    return strategy._task_loss(same, weights, task.support.objective, task.support, task.query)["loss"]


def test_first_predictor_is_the_classifier_by_prototypes(experiment: Make) -> None:
    strategy, task = made_with(experiment)
    with torch.no_grad():
        first = next(strategy.adapt(task.support)).module(task.query.inputs)
        means = prototypes(strategy.encoder(task.support.inputs), task.support.targets, 3)
        expected = NearestPrototype(strategy.encoder, means, 1.0)(task.query.inputs)
    torch.testing.assert_close(first.log_softmax(-1), expected.log_softmax(-1))


def by_hand(strategy: ProtoMAML, task: Task, steps: int) -> list[Tensor]:
    """The adapted encoder's parameters and the head: steps by autograd on a module with leaves of its own."""
    encoder = strategy.encoder
    with torch.no_grad():
        means = prototypes(encoder(task.support.inputs), task.support.targets, 3)
    head = [(2 * means).requires_grad_(), (-(means**2).sum(1)).requires_grad_()]
    kept = [p.detach().clone() for p in encoder.parameters()]
    variables = [*encoder.parameters(), *head]
    for _ in range(steps):
        loss = F.cross_entropy(F.linear(encoder(task.support.inputs), *head), task.support.targets)
        gradients = torch.autograd.grad(loss, variables)
        with torch.no_grad():
            for variable, gradient in zip(variables, gradients, strict=True):
                variable -= strategy.inner["inner_lr"] * gradient
    found = [v.detach().clone() for v in variables]
    with torch.no_grad():
        for parameter, value in zip(encoder.parameters(), kept, strict=True):
            parameter.copy_(value)
    return found


def test_inner_steps_equal_those_by_hand(experiment: Make) -> None:
    strategy, task = made_with(experiment, "strategy.inner_lr=0.5", "strategy.inner_steps=2")
    expected = by_hand(strategy, task, 2)
    adapted = next(islice(strategy.adapt(task.support), 2, None))
    for value, wanted in zip(adapted.changed.values(), expected, strict=True):
        torch.testing.assert_close(value, wanted)
    with torch.no_grad():
        query_loss = F.cross_entropy(adapted.module(task.query.inputs), task.query.targets)
    torch.testing.assert_close(
        meta_loss(strategy, task).detach(), query_loss
    )  # training takes the same steps


@pytest.mark.parametrize("norm", ["group", "batch_transductive"])
def test_meta_gradient_equals_finite_differences(experiment: Make, norm: str) -> None:
    strategy, task = made_with(
        experiment, f"model.norm={norm}", "strategy.inner_steps=2", "strategy.inner_lr=0.1"
    )
    parameters = list(strategy.parameters())
    gradients = torch.autograd.grad(meta_loss(strategy, task), parameters)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    values, epsilon = [], 1e-6
    for sign in (1, -2, 1):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(sign * epsilon * d)
        values.append(float(meta_loss(strategy, task).detach()))
    difference = (values[0] - values[1]) / (2 * epsilon)
    assert abs(slope - difference) <= 1e-5 * abs(difference)


def test_first_order_gradient_flows_through_the_prototypes(experiment: Make) -> None:
    """theta' = theta - constant and head' = head(theta) - constant: gradient by chain rule, by hand."""
    strategy, task = made_with(experiment, "strategy.second_order=false", "strategy.inner_lr=0.5")
    gradients = torch.autograd.grad(meta_loss(strategy, task), list(strategy.parameters()))
    *body, weight, bias = by_hand(strategy, task, 1)
    encoder = strategy.encoder
    parameters = list(encoder.parameters())
    means = prototypes(encoder(task.support.inputs), task.support.targets, 3)
    head = [2 * means, -(means**2).sum(1)]
    kept = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, value in zip(parameters, body, strict=True):
            p.copy_(value)
    leaves = [weight.requires_grad_(), bias.requires_grad_()]
    loss = F.cross_entropy(F.linear(encoder(task.query.inputs), *leaves), task.query.targets)
    direct = torch.autograd.grad(loss, [*parameters, *leaves])
    with torch.no_grad():
        for p, value in zip(parameters, kept, strict=True):
            p.copy_(value)
    means = prototypes(encoder(task.support.inputs), task.support.targets, 3)
    head = [2 * means, -(means**2).sum(1)]
    through = torch.autograd.grad(head, parameters, grad_outputs=direct[-2:])
    for found, one, two in zip(gradients, direct, through, strict=False):
        torch.testing.assert_close(found, one + two)


def test_any_number_of_ways_is_served(experiment: Make) -> None:
    experiment("strategy=proto_maml", "evaluation.n_way=7")


def test_regression_and_running_statistics_are_refused(experiment: Make) -> None:
    from coldstart_cli.errors import RequestError

    with pytest.raises(RequestError, match=r"^strategy: .* are a regression; choose"):
        experiment("strategy=proto_maml", "dataset=sinusoid", "model=mlp")
    with pytest.raises(RequestError, match=r"^model\.norm: .*; choose group"):
        experiment("strategy=proto_maml", "model.norm=batch")
