"""Fine-tuning and probing against plain torch, and the baseline's independence of the source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import torch
from torch import nn

from coldstart_cli.assembly import Experiment
from coldstart_cli.strategies.transfer import FineTune

Make = Callable[..., Experiment]


def test_linear_probe_equals_torch_sgd_on_frozen_features(experiment: Make) -> None:
    made = experiment("strategy=linear_probe")
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, FineTune)
    support = made.source.tasks("new", [0])[0].support
    with torch.no_grad():
        features = strategy.network.encoder(support.inputs)
    head = nn.Linear(features.shape[1], 3).double()
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(features), support.targets).backward()
        optimizer.step()
    item = list(islice(strategy.adapt(support), 5))[-1]
    assert set(item.changed) == {"head.weight", "head.bias"}
    torch.testing.assert_close(item.changed["head.weight"], head.weight.detach())
    torch.testing.assert_close(item.changed["head.bias"], head.bias.detach())


def test_finetune_changes_every_weight(experiment: Make) -> None:
    made = experiment("strategy=finetune")
    support = made.source.tasks("new", [0])[0].support
    strategy = made.strategy.eval()
    first, *_, last = islice(strategy.adapt(support), 4)
    assert set(last.changed) == {name for name, _ in strategy.network.named_parameters()}  # type: ignore[union-attr,operator]
    moved = [n for n in last.changed if not torch.equal(first.changed[n], last.changed[n])]
    assert set(moved) >= {"head.weight", "encoder.convs.0.weight"}


def test_scratch_learns_nothing_from_the_source(experiment: Make) -> None:
    made = experiment("strategy=scratch")
    assert not made.strategy.learns_from_source
    assert list(made.strategy.fit(made.source)) == []


def test_shared_labels_keep_the_source_head(experiment: Make) -> None:
    made = experiment("strategy=finetune")
    strategy = made.strategy.eval()
    assert isinstance(strategy, FineTune)
    support = made.source.tasks("new", [0])[0].support
    shared = replace(support, source_classes=torch.tensor([5, 0, 2]))
    first = next(strategy.adapt(shared))
    torch.testing.assert_close(first.changed["head.weight"], strategy.network.head.weight.detach()[[5, 0, 2]])
    assert not next(strategy.adapt(support)).changed["head.weight"].any()
