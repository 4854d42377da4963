"""Fine-tuning and probing against plain torch, and the baseline's independence of the source."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor, nn

from coldstart_cli.core.tasks import Support
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.transfer.fine_tune import L2SP, LPFT, FineTune, starting_point_penalty

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
    optimizer = torch.optim.SGD(head.parameters(), lr=strategy.tuning["lr"], momentum=0.9)
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


def network_of(strategy: LPFT | L2SP, support: Support) -> nn.Sequential:
    """The source's encoder and a new head at zero, apart from the strategy's."""
    encoder = copy.deepcopy(strategy.network.encoder)
    head = nn.Linear(encoder.feature_dim, support.objective.n_outputs).to(strategy.network.head.weight)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(encoder, head)


def assert_equal_networks(changed: Mapping[str, Tensor], network: nn.Sequential) -> None:
    for name, tensor in changed.items():
        part, _, rest = name.partition(".")
        expected = network[["encoder", "head"].index(part)].get_parameter(rest)
        torch.testing.assert_close(tensor, expected.detach())


def test_lp_ft_is_a_probe_followed_by_fine_tuning(experiment: Make) -> None:
    made = experiment("strategy=lp_ft", "strategy.probe_steps=2", "strategy.probe_lr=0.2")
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, LPFT)
    support = made.source.tasks("new", [0])[0].support
    items = list(islice(strategy.adapt(support), 6))
    network = network_of(strategy, support)
    phases = [(network[1].parameters(), 0.2, 2), (network.parameters(), strategy.tuning["lr"], 3)]
    step = 0
    for parameters, lr, n_steps in phases:
        optimizer = torch.optim.SGD(parameters, lr, momentum=strategy.tuning["momentum"])
        for _ in range(n_steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(support.inputs), support.targets).backward()
            optimizer.step()
            step += 1
            assert_equal_networks(items[step].changed, network)
    heads_only = [set(item.changed) == {"head.weight", "head.bias"} for item in items]
    assert heads_only == [True, True, True, False, False, False]


def test_l2_sp_equals_torch_sgd_with_the_penaltys_gradient(experiment: Make) -> None:
    made = experiment(
        "strategy=l2_sp", "strategy.alpha=0.7", "strategy.beta=0.3", "strategy.lr=0.2", "strategy.head_lr=0.1"
    )
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, L2SP)
    support = made.source.tasks("new", [0])[0].support
    network = network_of(strategy, support)
    start = [w.detach().clone() for w in network[0].parameters()]
    groups = [{"params": network[0].parameters()}, {"params": network[1].parameters(), "lr": 0.1}]
    optimizer = torch.optim.SGD(groups, lr=0.2, momentum=strategy.tuning["momentum"])  # type: ignore[arg-type]
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(support.inputs), support.targets).backward()
        for w, origin in zip(network[0].parameters(), start, strict=True):
            assert w.grad is not None
            w.grad += 0.7 * (w.detach() - origin)
        for w in network[1].parameters():
            assert w.grad is not None
            w.grad += 0.3 * w.detach()
        optimizer.step()
    assert_equal_networks(list(islice(strategy.adapt(support), 5))[-1].changed, network)


def test_starting_point_penalty_is_equation_2() -> None:
    weights = {"shared": torch.tensor([1.0, 4.0]), "new": torch.tensor([3.0])}
    start = {"shared": torch.tensor([2.0, 2.0])}
    found = starting_point_penalty(weights, start, alpha=0.5, beta=0.1)
    torch.testing.assert_close(found, torch.tensor(0.25 * (1 + 4) + 0.05 * 9))


def test_l2_sp_pulls_a_kept_head_to_the_source_head(experiment: Make) -> None:
    made = experiment(
        "strategy=l2_sp",
        "strategy.alpha=100",
        "strategy.beta=0",
        "strategy.lr=0.005",
        "strategy.head_lr=null",
    )
    strategy = made.strategy.eval()
    assert isinstance(strategy, L2SP)
    support = replace(made.source.tasks("new", [0])[0].support, source_classes=torch.tensor([5, 0, 2]))
    held = list(islice(strategy.adapt(support), 30))[-1].changed["head.weight"]
    strategy.alpha = 0.0
    freed = list(islice(strategy.adapt(support), 30))[-1].changed["head.weight"]
    source = strategy.network.head.weight.detach()[[5, 0, 2]]
    assert (held - source).norm() < 0.3 * (freed - source).norm()
