"""Gold tests: meta-gradients against finite differences and against values worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor

from coldstart_cli.core.tasks import Task
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.meta_learning.maml import MAML
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]


def meta_loss(strategy: MAML, task: Task) -> Tensor:
    weights = dict(strategy.network.named_parameters())
    return strategy._task_loss(same, weights, task.support.objective, task.support, task.query)["loss"]


@pytest.mark.parametrize("norm", ["group", "batch_transductive"])
@pytest.mark.parametrize("name", ["maml", "anil", "meta_sgd"])
def test_meta_gradient_equals_finite_differences(experiment: Make, name: str, norm: str) -> None:
    made = experiment(
        f"strategy={name}",
        "model.hidden=4",
        "model.groups=2",
        f"model.norm={norm}",
        "strategy.inner_steps=2",
        "strategy.inner_lr=0.1",
    )
    strategy = made.strategy.double().train()
    assert isinstance(strategy, MAML)
    task = made.source.tasks("train", [0])[0]
    parameters = list(strategy.parameters())
    gradients = torch.autograd.grad(meta_loss(strategy, task), parameters)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    values, epsilon = [], 1e-6
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(sign * epsilon * d)
            values.append(float(meta_loss(strategy, task)))
            for p, d in zip(parameters, directions, strict=True):
                p.sub_(sign * epsilon * d)
    difference = (values[0] - values[1]) / (2 * epsilon)
    assert abs(slope - difference) <= 1e-5 * abs(difference)


def linear_regression(experiment: Make, name: str, *overrides: str) -> tuple[MAML, Task]:
    """A network whose features are relu(w x), on a sinusoid task: small enough to work by hand."""
    made = experiment(
        "dataset=sinusoid",
        "model=mlp",
        "model.hidden=[2]",
        f"strategy={name}",
        "strategy.inner_lr=0.01",
        "dataset.k_shot=3",
        *overrides,
    )
    strategy = made.strategy.double()
    assert isinstance(strategy, MAML)
    task = made.source.tasks("train", [0])[0]
    return strategy, task


def by_hand(strategy: MAML, task: Task) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of the support loss at the initial weights, and of the query loss at the adapted ones."""
    weights = {n: p.detach().clone().requires_grad_() for n, p in strategy.network.named_parameters()}

    def loss(values: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        hidden = torch.relu(inputs.double() @ values[names[0]].T + values[names[1]])
        outputs = hidden @ values["head.weight"].T + values["head.bias"]
        return ((outputs - targets) ** 2).mean()

    names = list(weights)
    inner = loss(weights, task.support.inputs, task.support.targets)  # type: ignore[arg-type]
    gradients = dict(zip(names, torch.autograd.grad(inner, list(weights.values())), strict=True))
    moves = [n for n in names if strategy._adapts(n)]
    adapted = {
        n: (w - 0.01 * gradients[n] if n in moves else w).detach().requires_grad_()
        for n, w in weights.items()
    }
    outer = loss(adapted, task.query.inputs, task.query.targets)  # type: ignore[arg-type]
    return adapted, dict(zip(names, torch.autograd.grad(outer, list(adapted.values())), strict=True))


def test_first_order_gradient_is_the_query_gradient_at_the_adapted_weights(experiment: Make) -> None:
    strategy, task = linear_regression(experiment, "fomaml")
    adapted, expected = by_hand(strategy, task)
    meta_loss(strategy, task).backward()  # type: ignore[no-untyped-call]
    for name, parameter in strategy.network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])
    second = list(islice(strategy.adapt(task.support), 2))[1]
    for name, value in second.changed.items():
        torch.testing.assert_close(value, adapted[name].detach())


def test_anil_changes_the_head_alone(experiment: Make) -> None:
    strategy, task = linear_regression(experiment, "anil")
    adapted, _ = by_hand(strategy, task)
    item = list(islice(strategy.adapt(task.support), 2))[1]
    assert set(item.changed) == {"head.weight", "head.bias"}
    for name, value in item.changed.items():
        torch.testing.assert_close(value, adapted[name].detach())


def test_meta_sgd_starts_as_maml_and_learns_its_rates(experiment: Make) -> None:
    strategy, task = linear_regression(experiment, "meta_sgd")
    plain, _ = linear_regression(experiment, "maml")
    plain.network.load_state_dict(strategy.network.state_dict())
    torch.testing.assert_close(meta_loss(strategy, task), meta_loss(plain, task))
    meta_loss(strategy, task).backward()  # type: ignore[no-untyped-call]
    assert all(rate.grad is not None and rate.grad.abs().sum() > 0 for rate in strategy.rates.values())


def test_second_order_differs_from_first_order(experiment: Make) -> None:
    gradients = []
    for name in ("maml", "fomaml"):
        strategy, task = linear_regression(experiment, name)
        meta_loss(strategy, task).backward()  # type: ignore[no-untyped-call]
        gradients.append(torch.cat([p.grad.flatten() for p in strategy.network.parameters()]))  # type: ignore[union-attr]
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-3)


def test_running_statistics_are_refused(experiment: Make) -> None:
    from coldstart_cli.errors import RequestError

    with pytest.raises(RequestError, match=r"^model\.norm: .*; choose group"):
        experiment("strategy=maml", "model.norm=batch")


def test_another_number_of_ways_is_refused_with_the_reason(experiment: Make) -> None:
    from coldstart_cli.errors import RequestError

    with pytest.raises(RequestError, match=r"^strategy: its head was built for 3 outputs .*; train with"):
        experiment("strategy=maml", "evaluation.n_way=4")
