"""Standardised features against numpy; what is read of a task, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.standardising import SourceStatistics, statistics
from coldstart_cli.strategies.meta_learning.protonet import ProtoNet

Make = Callable[..., Experiment]
KEY = "strategy.standardise=3"


def by_numpy(x: np.ndarray, mu: np.ndarray, v: np.ndarray, w: float) -> tuple[np.ndarray, np.ndarray]:
    n = len(x)
    mean = np.array([(sum(x[:, j]) + w * mu[j]) / (n + w) for j in range(x.shape[1])])
    variance = [
        (sum((value - x[:, j].mean()) ** 2 for value in x[:, j]) + w * v[j]) / (n - 1 + w)
        for j in range(x.shape[1])
    ]
    return mean, np.sqrt(np.array(variance) / (sum(v) / len(v)))


def protonet(experiment: Make, *more: str) -> tuple[ProtoNet, Experiment]:
    made = experiment("strategy=protonet", KEY, "dataset.k_shot=2", "dataset.n_unlabelled=2", *more)
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, ProtoNet)
    assert strategy.standard is not None
    with torch.no_grad():
        strategy.standard.mean.normal_(generator=torch.Generator().manual_seed(1))
        strategy.standard.log_variance.normal_(generator=torch.Generator().manual_seed(2))
    return strategy, made


@pytest.mark.parametrize("n", [1, 7])
def test_statistics_equal_numpy(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, mu, log_v = (torch.randn(*size, generator=generator).double() for size in ((n, 4), (4,), (4,)))
    found = statistics(x, {"standard.mean": mu, "standard.log_variance": log_v}, 2.5)
    expected = by_numpy(x.numpy(), mu.numpy(), log_v.exp().numpy(), 2.5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other)


def test_adapted_protonet_equals_numpy_and_reads_unlabelled_examples_too(experiment: Make) -> None:
    strategy, made = protonet(experiment)
    assert strategy.standard is not None
    task = made.source.tasks("train", [0])[0]
    assert task.support.unlabelled is not None
    with torch.no_grad():
        outputs = next(strategy.adapt(task.support)).module(task.query.inputs)
        support, free, query = (
            strategy.encoder(inputs).numpy()
            for inputs in (task.support.inputs, task.support.unlabelled, task.query.inputs)
        )
    source = strategy.standard.mean.detach().numpy(), strategy.standard.log_variance.detach().exp().numpy()
    mean, deviation = by_numpy(np.concatenate([support, free]), *source, 3)
    support, query = (support - mean) / deviation, (query - mean) / deviation
    means = np.stack([support[task.support.targets.numpy() == c].mean(0) for c in range(3)])
    np.testing.assert_allclose(outputs.numpy(), -((query[:, None] - means[None]) ** 2).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("name", ["protonet", "matching", "feat", "simple_cnaps", "r2d2"])
def test_training_and_adaptation_agree_where_nothing_is_unlabelled(experiment: Make, name: str) -> None:
    made = experiment(f"strategy={name}", KEY, "dataset.k_shot=2")
    strategy, seen = made.strategy.eval(), []
    steps = strategy.fit(made.source)  # which has seen the source's statistics, and moved nothing yet
    for task in made.source.tasks("train", range(strategy.meta_batch_size)):  # type: ignore[arg-type]
        with torch.no_grad():
            outputs = next(strategy.adapt(task.support)).module(task.query.inputs)
        right = float((outputs.argmax(1) == task.query.targets).float().mean())
        seen.append([float(task.support.objective.loss(outputs, task.query.targets)), right])
    loss, accuracy = np.mean(seen, 0)
    found = next(iter(steps))
    assert found["accuracy"] == pytest.approx(accuracy)
    if name != "feat":  # whose loss has a part beside
        assert found["loss"] == pytest.approx(loss, rel=1e-4)


def test_queries_take_no_part(experiment: Make) -> None:
    strategy, made = protonet(experiment)
    task = made.source.tasks("train", [0])[0]
    module = next(strategy.adapt(task.support)).module
    with torch.no_grad():
        assert isinstance(task.query.inputs, torch.Tensor)
        alone, beside = module(task.query.inputs[:1]), module(task.query.inputs)[:1]
    torch.testing.assert_close(alone, beside)


def test_source_statistics_are_seen_before_they_are_learned(experiment: Make) -> None:
    made = experiment("strategy=protonet", KEY)
    strategy = made.strategy
    assert isinstance(strategy, ProtoNet) and strategy.standard is not None
    strategy.train().fit(made.source)
    found, training = [], strategy.encoder.training
    for task in made.source.tasks("train", range(16)):
        with torch.no_grad():
            x = [strategy.encoder(part.inputs).numpy() for part in (task.support, task.query)]
        found.append((np.concatenate(x).mean(0), np.concatenate(x).var(0, ddof=1)))
    mean, variance = np.mean([m for m, _ in found], 0), np.mean([v for _, v in found], 0)
    np.testing.assert_allclose(strategy.standard.mean.detach(), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(strategy.standard.log_variance.detach(), np.log(variance + 1e-4), rtol=1e-4)
    assert training, "the encoder goes on training after it was observed"


def test_nothing_is_kept_without_it_and_resuming_observes_nothing(experiment: Make) -> None:
    assert not any("standard" in name for name in experiment("strategy=protonet").strategy.state_dict())
    made = experiment("strategy=protonet", KEY)
    assert isinstance(made.strategy, ProtoNet) and isinstance(made.strategy.standard, SourceStatistics)
    made.strategy.fit(made.source, start=5)
    assert made.strategy.standard.mean.abs().sum() == 0


def test_ridge_without_a_source_is_refused(experiment: Make) -> None:
    with pytest.raises(RequestError, match="standardise: nothing is known of the source's features"):
        experiment("strategy=r2d2", "strategy.source_training=false", KEY)
