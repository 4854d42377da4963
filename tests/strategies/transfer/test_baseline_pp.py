"""Baseline++ against torch's weight normalisation and its SGD, with the settings of the paper's code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.models.cosine import CosineHead
from coldstart_cli.strategies.transfer.baseline_pp import BaselinePP
from coldstart_cli.training.inner_loop import batches, canonical

Make = Callable[..., Experiment]


def test_baseline_pp_equals_torch_sgd_on_a_weight_normalised_layer(experiment: Make) -> None:
    settings = ("lr=0.01", "dampening=0.9", "support_batch_size=4")
    made = experiment(
        "strategy=baseline_pp", "dataset.k_shot=2", *(f"strategy.{value}" for value in settings)
    )
    strategy = made.strategy.double().eval()
    support = made.source.tasks("new", [0])[0].support
    items = list(islice(strategy.adapt(support), 8))
    layer = weight_norm(nn.Linear(8, 3, bias=False).double(), dim=0)
    parts = layer.parametrizations.weight
    with torch.no_grad():
        parts.original0.copy_(items[0].changed["head.norm"][:, None])  # type: ignore[union-attr,index]
        parts.original1.copy_(items[0].changed["head.weight"])  # type: ignore[union-attr,index]
        ordered = canonical(support)
        features = F.normalize(strategy.network.encoder(ordered.inputs), dim=1)  # type: ignore[operator,union-attr]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9, dampening=0.9, weight_decay=0.001)
    for chosen in islice(batches(len(support), 4, support.seed), 7):
        assert len(chosen) == 4
        optimizer.zero_grad()
        F.cross_entropy(2 * layer(features[chosen]), ordered.targets[chosen]).backward()
        optimizer.step()
    changed = items[-1].changed
    torch.testing.assert_close(changed["head.norm"], parts.original0.detach()[:, 0])  # type: ignore[union-attr,index]
    torch.testing.assert_close(changed["head.weight"], parts.original1.detach())  # type: ignore[union-attr]


def test_baseline_pp_scales_each_head_by_its_number_of_classes(experiment: Make) -> None:
    made = experiment("strategy=baseline_pp")
    strategy, support = made.strategy.eval(), made.source.tasks("new", [0])[0].support
    assert isinstance(strategy, BaselinePP)
    assert isinstance(strategy.network.head, CosineHead)
    n_classes = strategy.network.head.out_features
    assert n_classes > 200 and strategy.network.head.scale == 10
    assert next(strategy.adapt(support)).module.network.head.scale == 2  # type: ignore[union-attr]
    shared = replace(support, source_classes=torch.tensor([5, 0, 2]))
    assert next(strategy.adapt(shared)).module.network.head.scale == 10  # type: ignore[union-attr]
    fixed = experiment("strategy=baseline_pp", "strategy.scale=7").strategy
    assert fixed.network.head.scale == 7  # type: ignore[union-attr]
