"""The conditional neural process and the generated classifier against numpy, worked by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from coldstart_cli.core.tasks import Task
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.meta_learning.task_encoder import (
    GeneratedClassifier,
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


def test_generated_classifier_equals_numpy(experiment: Make) -> None:
    strategy, task = made_of(experiment, "dataset.k_shot=2")
    network = strategy.network
    assert isinstance(network, GeneratedClassifier)
    randomised(network.generator)
    with torch.no_grad():
        support, query = (network.encoder(x).numpy() for x in (task.support.inputs, task.query.inputs))
    t = layers(network.decoder, layers(network.set_encoder, support).mean(0))
    columns = []
    for c in range(3):
        mean = support[task.support.targets.numpy() == c].mean(0)
        residual = layers(network.generator, np.concatenate([mean, t]))
        columns.append(query @ (2 * mean + residual[:-1]) - mean @ mean + residual[-1])
    (adapted,) = strategy.adapt(task.support)
    with torch.no_grad():
        outputs = adapted.module(task.query.inputs).numpy()
    np.testing.assert_allclose(outputs, np.stack(columns, axis=1), rtol=1e-9)


def test_generated_classifier_starts_as_protonet(experiment: Make) -> None:
    strategy, task = made_of(experiment)
    protonet = experiment("strategy=protonet").strategy.double().eval()
    (ours,), (theirs,) = strategy.adapt(task.support), protonet.adapt(task.support)
    with torch.no_grad():
        logits = [adapted.module(task.query.inputs).log_softmax(1) for adapted in (ours, theirs)]
    torch.testing.assert_close(*logits)


def test_any_number_of_ways_is_served(experiment: Make) -> None:
    made = experiment("strategy=task_encoder", "evaluation.n_way=7")
    task = made.source.with_shape(made.source.shape.__class__(7, 1, 2, 0)).tasks("new", [0])[0]
    (adapted,) = made.strategy.eval().adapt(task.support)
    assert adapted.module(task.query.inputs).shape == (14, 7)
