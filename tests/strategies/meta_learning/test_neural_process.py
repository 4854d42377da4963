"""Gold tests: mean, deviation and likelihood against numpy, and intervals that hold what they say."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from coldstart_cli.core.tasks import Task
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.models.attention import MultiHeadAttention
from coldstart_cli.strategies.meta_learning.neural_process import AttentiveNeuralProcess
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]
Array = np.ndarray
SMALL = (
    "strategy=neural_process", "strategy.width=4", "strategy.n_heads=2", "strategy.hidden=[5]",
    "strategy.n_self_attention=1", "strategy.min_deviation=0.1",
)  # fmt: skip
SINES = ("dataset=sinusoid", "model=mlp", "model.hidden=[3]")


def made_with(experiment: Make, *overrides: str) -> tuple[AttentiveNeuralProcess, Task]:
    made = experiment(*SMALL, *overrides)
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, AttentiveNeuralProcess)
    return strategy, made.source.tasks("train", [0])[0]


def layers(module: nn.Module, x: Array) -> Array:
    """A perceptron: linear layers with ReLU between them."""
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    for i, layer in enumerate(linear):
        x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        x = np.maximum(x, 0) if i < len(linear) - 1 else x
    return x


def read(attention: MultiHeadAttention, queries: Array, keys: Array, values: Array) -> Array:
    w = {name: p.detach().numpy() for name, p in attention.named_parameters()}
    heads = []
    for h in np.split(np.arange(4), 2):
        q, k, v = (
            x @ w[f"{n}.weight"][h].T for n, x in (("query", queries), ("key", keys), ("value", values))
        )
        powers = np.exp(q @ k.T / np.sqrt(2))
        heads.append(powers / powers.sum(1, keepdims=True) @ v)
    return np.concatenate(heads, 1) @ w["output.weight"].T + w["output.bias"]


def read_by_hand(strategy: AttentiveNeuralProcess, task: Task, told: Array) -> Array:
    network = strategy.network
    with torch.no_grad():
        features, asked = (network.encoder(e.inputs).numpy() for e in (task.support, task.query))
    values = layers(network.pair_encoder, np.concatenate([features, told], 1))
    normal = (values - values.mean(1, keepdims=True)) / np.sqrt(values.var(1, keepdims=True) + 1e-5)
    values = values + read(network.among[0], normal, normal, normal)  # type: ignore[arg-type]
    keys, queries = layers(network.key_encoder, features), layers(network.key_encoder, asked)
    mean = np.repeat(values.mean(0, keepdims=True), len(asked), 0)
    return np.concatenate([asked, read(network.across, queries, keys, values), mean], 1)


def loss_of(strategy: AttentiveNeuralProcess, task: Task) -> float:
    weights = dict(strategy.network.named_parameters())
    found = strategy._task_loss(same, weights, task.support.objective, task.support, task.query)
    return found["loss"].item()


def test_regression_equals_numpy(experiment: Make) -> None:
    strategy, task = made_with(experiment, *SINES)
    found = read_by_hand(strategy, task, task.support.targets.numpy())
    mean = layers(strategy.network.predictor, found)
    assert strategy.network.deviator is not None
    deviation = 0.1 + 0.9 * np.log1p(np.exp(layers(strategy.network.deviator, found)))
    adapted = next(strategy.adapt(task.support))
    assert adapted.deviation is not None
    with torch.no_grad():
        assert adapted.module(task.query.inputs).numpy() == pytest.approx(mean)
        assert adapted.deviation()(task.query.inputs).numpy() == pytest.approx(deviation)
    errors = task.query.targets.numpy() - mean
    losses = -np.log(np.exp(-((errors / deviation) ** 2) / 2) / deviation / np.sqrt(2 * np.pi))
    assert loss_of(strategy, task) == pytest.approx((errors**2).mean() + losses.mean())


def test_classification_equals_numpy_and_has_no_deviation(experiment: Make) -> None:
    strategy, task = made_with(experiment)
    found = read_by_hand(strategy, task, np.eye(3)[task.support.targets.numpy()])
    logits = layers(strategy.network.predictor, found)
    adapted = next(strategy.adapt(task.support))
    assert adapted.deviation is None
    with torch.no_grad():
        assert adapted.module(task.query.inputs).numpy() == pytest.approx(logits)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = task.query.targets.numpy()
    assert loss_of(strategy, task) == pytest.approx(-logs[np.arange(len(targets)), targets].mean())


def test_it_learns_how_far_it_is_off(experiment: Make) -> None:
    """On noise alone, y = 0 + normal of deviation .5, the likelihood is best at that deviation."""
    flat = ("dataset.amplitude=[0,0]", "dataset.noise=0.5", "training.steps=300", "optimizer.lr=0.01")
    made = experiment(*SMALL, *SINES, *flat, "dataset.n_query=20")
    strategy = made.strategy.train()
    list(islice(strategy.fit(made.source), 300))
    task = made.source.tasks("new", [0])[0]
    adapted = next(strategy.eval().adapt(task.support))
    assert adapted.deviation is not None
    with torch.no_grad():
        # Queries are exact there: 0, so the deviation can be as small as it may.
        assert adapted.deviation()(task.query.inputs).mean().item() < 0.2
        assert adapted.module(task.query.inputs).abs().mean().item() < 0.1
