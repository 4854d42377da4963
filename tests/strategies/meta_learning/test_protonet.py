"""Distances and the loss against values worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.building_blocks.discrepancy import squared_distances
from coldstart_cli.strategies.building_blocks.embedding import task_scores
from coldstart_cli.strategies.meta_learning.protonet import ProtoNet, logits_by_prototypes
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Experiment]


def test_squared_distances_by_hand() -> None:
    distances = squared_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[3.0, 0.0]]))
    assert distances.tolist() == [[9.0], [16.0]]


def test_squared_distances_keep_full_precision_under_autocast() -> None:
    x, p = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 64)
    with torch.autocast("cpu", torch.bfloat16):
        distances = squared_distances(x, p)
    torch.testing.assert_close(distances[:, 0], (x**2).sum(1))


@pytest.mark.parametrize("learned", ["false", "true"])
def test_loss_and_accuracy_equal_numpy(experiment: Make, learned: str) -> None:
    tempered = ("strategy.temperature=2.5", f"strategy.learn_temperature={learned}")
    made = experiment("strategy=protonet", "dataset.k_shot=2", *tempered)
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, ProtoNet)
    task = made.source.tasks("train", [0])[0]
    scores = task_scores(
        strategy.encoder,
        partial(logits_by_prototypes, temperature=2.5),
        same,
        dict(strategy.named_parameters()),
        task.support.objective,
        task.support,
        task.query,
    )
    with torch.no_grad():
        support = strategy.encoder(task.support.inputs).numpy()
        query = strategy.encoder(task.query.inputs).numpy()
        outputs = next(strategy.adapt(task.support)).module(task.query.inputs)
    means = np.stack([support[task.support.targets.numpy() == c].mean(0) for c in range(3)])
    logits = -((query[:, None] - means[None]) ** 2).sum(-1) / 2.5
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = task.query.targets.numpy()
    assert float(scores["loss"].detach()) == pytest.approx(-logs[np.arange(len(targets)), targets].mean())
    assert float(scores["accuracy"]) == pytest.approx((logits.argmax(1) == targets).mean())
    assert outputs.numpy() == pytest.approx(logits, rel=1e-5)


def test_temperature_is_learned_only_where_it_is_asked_for(experiment: Make) -> None:
    names = dict(experiment("strategy=protonet").strategy.named_parameters())
    assert "log_temperature" not in names  # checkpoints of before have none
    made = experiment("strategy=protonet", "strategy.learn_temperature=true")
    before = float(made.strategy.log_temperature.detach())  # type: ignore[union-attr, operator]
    next(iter(made.strategy.train().fit(made.source)))
    assert float(made.strategy.log_temperature.detach()) != before  # type: ignore[union-attr, operator]


def test_any_number_of_ways_is_served(experiment: Make) -> None:
    experiment("strategy=protonet", "evaluation.n_way=7")


def test_regression_is_refused_with_the_reason(experiment: Make) -> None:
    with pytest.raises(RequestError, match=r"^strategy: .* are a regression; choose"):
        experiment("strategy=protonet", "dataset=sinusoid", "model=mlp")
