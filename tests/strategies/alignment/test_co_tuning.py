"""The category relationship by hand, and a step against plain torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from torch import nn

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.alignment.co_tuning import CoTuning, category_relationship

Make = Callable[..., Experiment]


def test_category_relationship_is_the_mean_softmax_of_each_class() -> None:
    outputs = torch.tensor([[0.0, 2.0], [4.0, 0.0], [2.0, 2.0]], dtype=torch.float64)
    found = category_relationship(outputs, torch.tensor([1, 0, 1]), 2, temperature=2.0)

    def softmax(a: float, b: float) -> np.ndarray:
        return np.exp([a / 2, b / 2]) / np.exp([a / 2, b / 2]).sum()

    expected = np.array([softmax(4, 0), (softmax(0, 2) + softmax(2, 2)) / 2])
    torch.testing.assert_close(found, torch.tensor(expected))


def test_co_tuning_equals_plain_torch(experiment: Make) -> None:
    made = experiment("strategy=co_tuning", "dataset.k_shot=2")
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, CoTuning)
    support = made.source.tasks("new", [0])[0].support
    encoder, source_head = copy.deepcopy(strategy.network.encoder), copy.deepcopy(strategy.network.head)
    head = nn.Linear(encoder.feature_dim, 3).double()
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    with torch.no_grad():
        soft = source_head(encoder(support.inputs)).softmax(-1)
        relationship = torch.stack([soft[support.targets == c].mean(0) for c in range(3)])
    rates = {"lr": strategy.tuning["lr"], "momentum": strategy.tuning["momentum"]}
    groups = [  # as in the authors' code: the new head learns ten times as fast, the source's does not
        {"params": [*encoder.parameters(), *source_head.parameters()]},
        {"params": head.parameters(), "lr": 10 * strategy.tuning["lr"]},
    ]
    optimizer = torch.optim.SGD(groups, **rates)  # type: ignore[arg-type]
    for _ in range(3):
        optimizer.zero_grad()
        features = encoder(support.inputs)
        log_source = source_head(features).log_softmax(-1)
        loss = nn.functional.cross_entropy(head(features), support.targets)
        loss = loss - strategy.weight * (relationship[support.targets] * log_source).sum(-1).mean()
        loss.backward()
        optimizer.step()
    item = list(islice(strategy.adapt(support), 4))[-1]
    torch.testing.assert_close(item.changed["head.weight"], head.weight.detach())
    torch.testing.assert_close(
        item.changed["encoder.convs.0.weight"],
        encoder.convs[0].weight.detach(),  # type: ignore[union-attr,index]
    )
