"""The conditional neural process and the conditioned classifier against numpy, worked by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Task
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.meta_learning.task_encoder import (
    ConditionedClassifier,
    NeuralProcess,
    TaskEncoder,
)
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]
Reals = NDArray[np.float64]
SMALL = ("strategy.hidden=[6]", "strategy.task_dim=5", "strategy.n_task_features=3")


def made_of(experiment: Make, *overrides: str) -> tuple[TaskEncoder, Task]:
    made = experiment("strategy=task_encoder", *SMALL, *overrides)
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, TaskEncoder)
    return strategy, made.source.tasks("train", [0])[0]


def layers(module: nn.Module, x: Reals) -> Reals:
    """Linear layers with ReLU between them."""
    linears = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    for i, layer in enumerate(linears):
        x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        x = np.maximum(x, 0) if i < len(linears) - 1 else x
    return x


def randomised(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def test_neural_process_equals_numpy(experiment: Make) -> None:
    strategy, task = made_of(experiment, "dataset=harder_sinusoids", "model=mlp", "dataset.k_shot=4")
    network = strategy.network
    assert isinstance(network, NeuralProcess)
    with torch.no_grad():
        support, query = (network.encoder(x).numpy() for x in (task.support.inputs, task.query.inputs))
    pairs = np.concatenate([support, task.support.targets.numpy()], axis=1)
    r = sum((layers(network.set_encoder, pair) for pair in pairs), np.zeros(5)) / 4
    t = layers(network.decoder, r)
    expected = layers(network.predictor, np.concatenate([query, np.tile(t, (len(query), 1))], axis=1))
    (adapted,) = strategy.adapt(task.support)
    with torch.no_grad():
        outputs = adapted.module(task.query.inputs).numpy()
    np.testing.assert_allclose(outputs, expected, rtol=1e-10)
    weights = dict(network.named_parameters())
    found = strategy._task_loss(same, weights, task.support.objective, task.support, task.query)
    error = ((expected - task.query.targets.numpy()) ** 2).mean()
    assert float(found["loss"].detach()) == pytest.approx(error)


def discriminant(support: Reals, y: NDArray[np.int64], query: Reals, scales: Reals, ridge: float) -> Reals:
    """-(x - m)' S^-1 (x - m), example by example."""
    support, query = support * scales, query * scales
    means = np.stack([support[y == c].mean(0) for c in range(3)])
    covariance = ridge * np.eye(support.shape[1])
    for x, c in zip(support, y, strict=True):
        covariance += np.outer(x - means[c], x - means[c]) / max(len(y) - 3, 1)
    inverse = np.linalg.inv(covariance)
    return np.array([[-(x - m) @ inverse @ (x - m) for m in means] for x in query])


def log_softmax(x: Reals) -> Reals:
    return np.asarray(
        x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - x.max(1, keepdims=True)
    )


def test_conditioned_classifier_equals_numpy(experiment: Make) -> None:
    strategy, task = made_of(experiment, "dataset.k_shot=2")
    network = strategy.network
    assert isinstance(network, ConditionedClassifier)
    randomised(network.gate)
    randomised(network.decoder)
    with torch.no_grad():
        network.log_ridge.fill_(-1.0)
        support, query = (network.encoder(x).numpy() for x in (task.support.inputs, task.query.inputs))
    y = task.support.targets.numpy()
    within = sum(support[y == c].var(0, ddof=1) for c in range(3)) / 3
    between = np.stack([support[y == c].mean(0) for c in range(3)]).var(0, ddof=1)
    total = support.var(0, ddof=1)
    read = np.log(np.stack([within, between, total]) + 1e-4)
    t = layers(network.decoder, layers(network.set_encoder, read[:2].reshape(-1)))
    own = np.stack([*read, np.zeros_like(total), np.full_like(total, np.log(2))], axis=1)
    scales = np.exp(layers(network.gate, own)[:, 0] + t)
    scale = float(network.log_scale.detach().exp())
    expected = scale * discriminant(support, y, query, scales, float(np.exp(-1.0)))
    (adapted,) = strategy.adapt(task.support)
    with torch.no_grad():
        outputs = adapted.module(task.query.inputs).log_softmax(1).numpy()
    np.testing.assert_allclose(outputs, log_softmax(expected), rtol=1e-6, atol=1e-9)
    found = strategy._task_loss(
        same, dict(network.named_parameters()), task.support.objective, task.support, task.query
    )
    nll = -log_softmax(expected)[np.arange(len(query)), task.query.targets.numpy()].mean()
    # What the gate must earn: a tenth (conf/strategy/task_encoder.yaml) of its mean square logarithm.
    assert float(found["loss"].detach()) == pytest.approx(nll + 0.1 * (np.log(scales) ** 2).mean())


def test_conditioned_classifier_starts_as_protonet_with_one_example_a_class(experiment: Make) -> None:
    strategy, task = made_of(experiment)
    protonet = experiment("strategy=protonet").strategy.double().eval()
    (ours,), (theirs,) = strategy.adapt(task.support), protonet.adapt(task.support)
    network = strategy.network
    assert isinstance(network, ConditionedClassifier)
    scale = network.log_scale.detach().exp()
    with torch.no_grad():
        logits = ours.module(task.query.inputs), scale * theirs.module(task.query.inputs)
    torch.testing.assert_close(*(each.log_softmax(1) for each in logits))


def test_unlabelled_examples_are_read(experiment: Make) -> None:
    made = experiment("strategy=task_encoder", *SMALL, "dataset.n_unlabelled=3")
    strategy, task = made.strategy.double().eval(), made.source.tasks("new", [0])[0]
    assert isinstance(strategy, TaskEncoder)
    randomised(strategy.network.gate)  # type: ignore[arg-type]
    without = replace(task.support, unlabelled=None)
    with torch.no_grad():
        outputs = [next(strategy.adapt(s)).module(task.query.inputs) for s in (task.support, without)]
    assert not torch.allclose(*outputs)


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (("dataset.k_shot=2",), {"swap", "off", "covariance alone", "gate alone", "by hand"}),
        (("dataset=harder_sinusoids", "model=mlp"), {"swap", "off"}),
    ],
)
def test_ablations_differ_from_the_strategy_and_swap_with_itself_does_not(
    experiment: Make, overrides: tuple[str, ...], names: set[str]
) -> None:
    made = experiment("strategy=task_encoder", *SMALL, *overrides)
    strategy = made.strategy.double().eval()
    randomised(strategy)
    task, other = made.source.tasks("train", [0, 1])

    def outputs(adaptation: Iterator[Adapted]) -> torch.Tensor:
        with torch.no_grad():
            return next(adaptation).module(task.query.inputs)

    own = outputs(strategy.adapt(task.support))
    found = strategy.ablations(task.support, other.support)
    assert set(found) == names
    assert all(not torch.allclose(outputs(adaptation), own) for adaptation in found.values())
    torch.testing.assert_close(outputs(strategy.ablations(task.support, task.support)["swap"]), own)


def test_any_number_of_ways_is_served(experiment: Make) -> None:
    made = experiment("strategy=task_encoder", "evaluation.n_way=7")
    task = made.source.with_shape(made.source.shape.__class__(7, 1, 2, 0)).tasks("new", [0])[0]
    (adapted,) = made.strategy.eval().adapt(task.support)
    assert adapted.module(task.query.inputs).shape == (14, 7)
