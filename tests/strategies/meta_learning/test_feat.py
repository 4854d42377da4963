"""Gold tests: the set-to-set transformer and both losses against numpy, written out class by class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from coldstart_cli.core.tasks import Examples
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.embedding import task_scores
from coldstart_cli.strategies.meta_learning.feat import FEAT, SetTransformer
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]
Array = np.ndarray


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def transformed(transformer: SetTransformer, values: Array) -> Array:
    """Equations 5 to 7 for one set, one element after another."""
    w = {name: p.detach().numpy() for name, p in transformer.named_parameters()}
    found = np.zeros_like(values)
    for i, v in enumerate(values):
        scores = [(w["attention.query.weight"] @ v) @ (w["attention.key.weight"] @ other) for other in values]
        read = softmax(np.array(scores) / np.sqrt(len(v))) @ (values @ w["attention.value.weight"].T)
        total = v + w["attention.output.weight"] @ read + w["attention.output.bias"]
        normal = (total - total.mean()) / np.sqrt(total.var() + 1e-5)
        found[i] = w["norm.weight"] * normal + w["norm.bias"]
    return found


def cross_entropy(features: Array, centres: Array, targets: Array, temperature: float) -> float:
    logits = -((features[:, None] - centres[None]) ** 2).sum(-1) / temperature
    return float(-np.log(softmax(logits)[np.arange(len(targets)), targets]).mean())


def made_with(experiment: Make, *overrides: str) -> tuple[FEAT, Experiment]:
    made = experiment("strategy=feat", "dataset.k_shot=2", "strategy.temperature=4", *overrides)
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, FEAT)
    with torch.no_grad():  # or the norm would be the plain one
        strategy.transformer.norm.weight.normal_()
        strategy.transformer.norm.bias.normal_()
    return strategy, made


def test_loss_is_that_of_adapted_means_and_of_adapted_instances(experiment: Make) -> None:
    strategy, made = made_with(experiment, "strategy.contrastive_weight=0.5")
    task = made.source.tasks("train", [0])[0]
    weights, objective = dict(strategy.named_parameters()), task.support.objective
    loss = task_scores(
        strategy.encoder, strategy._logits, same, weights, objective, task.support, task.query,
        beside=strategy._contrastive_loss,
    )["loss"]  # fmt: skip
    with torch.no_grad():
        support, query = (strategy.encoder(e.inputs).numpy() for e in (task.support, task.query))
        outputs = next(strategy.adapt(task.support)).module(task.query.inputs).numpy()
    of_support, of_query = task.support.targets.numpy(), task.query.targets.numpy()
    means = np.stack([support[of_support == k].mean(0) for k in range(3)])
    adapted = transformed(strategy.transformer, means)
    everything, targets = np.concatenate([support, query]), np.concatenate([of_support, of_query])
    centres = np.stack(
        [transformed(strategy.transformer, everything[targets == k]).mean(0) for k in range(3)]
    )
    expected = cross_entropy(query, adapted, of_query, 4.0)
    expected += 0.5 * cross_entropy(everything, centres, targets, 4.0)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert outputs == pytest.approx(-((query[:, None] - adapted[None]) ** 2).sum(-1) / 4, rel=1e-6)


def test_classes_may_come_in_any_order() -> None:
    torch.manual_seed(0)
    transformer, means = SetTransformer(6, 0.0), torch.randn(4, 6)
    order = torch.tensor([2, 0, 3, 1])
    adapted = transformer(means)
    torch.testing.assert_close(transformer(means[order]), adapted[order])


def test_a_weight_of_nothing_leaves_the_query_loss_alone(experiment: Make) -> None:
    strategy, made = made_with(experiment, "strategy.contrastive_weight=0")
    first = next(iter(strategy.fit(made.source)))
    weighted, made = made_with(experiment, "strategy.contrastive_weight=1")
    assert next(iter(weighted.fit(made.source)))["loss"] > first["loss"]


def test_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    transformer, means = SetTransformer(6, 0.5), torch.randn(4, 6)
    first, second = (transformer.train()(means) for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (transformer.eval()(means) for _ in range(2))
    assert torch.equal(first, second)


def test_contrastive_loss_of_classes_that_look_alike_is_log_two(experiment: Make) -> None:
    strategy, _ = made_with(experiment, "strategy.contrastive_weight=1")
    width = strategy.encoder.feature_dim
    near = torch.zeros(4, width, dtype=torch.float64)
    task = Examples(near, torch.tensor([0, 0, 1, 1]))
    weights = dict(strategy.named_parameters())
    assert strategy._contrastive_loss(weights, task, 2).item() == pytest.approx(np.log(2))
