"""LoRA against torch's optimizer on layers with an explicit low-rank branch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.transfer.lora import LoRA

Make = Callable[..., Experiment]


class Update(nn.Module):
    """W -> W + scale B A."""

    def __init__(self, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__()
        self.a, self.b, self.scale = nn.Parameter(a.clone()), nn.Parameter(b.clone()), scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * torch.einsum("or,ri->oi", self.b, self.a).reshape(weight.shape)


def test_lora_equals_torch_sgd_on_factors_and_head(experiment: Make) -> None:
    made = experiment(
        "strategy=lora", "strategy.rank=2", "strategy.alpha=6", "strategy.lr=0.1", "strategy.head_lr=null"
    )
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, LoRA)
    task = made.source.tasks("new", [0])[0]
    items = list(islice(strategy.adapt(task.support), 5))
    encoder, head = copy.deepcopy(strategy.network.encoder), nn.Linear(8, 3).double()
    encoder.requires_grad_(False)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    updates = []
    for i in range(4):
        a, b = (items[0].changed[f"encoder.convs.{i}.weight.lora_{factor}"] for factor in "AB")
        updates.append(Update(a, b, scale=3.0))
        parametrize.register_parametrization(encoder.convs[i], "weight", updates[-1])  # type: ignore[index,union-attr,arg-type]
    factors = [p for update in updates for p in update.parameters()]
    optimizer = torch.optim.SGD([*factors, *head.parameters()], lr=0.1, momentum=0.9)
    for _ in range(4):
        optimizer.zero_grad()
        outputs = head(encoder(task.support.inputs))
        nn.functional.cross_entropy(outputs, task.support.targets).backward()
        optimizer.step()
    torch.testing.assert_close(items[-1].changed["encoder.convs.2.weight.lora_A"], updates[2].a.detach())
    torch.testing.assert_close(items[-1].changed["encoder.convs.2.weight.lora_B"], updates[2].b.detach())
    with torch.no_grad():
        expected = head(encoder(task.query.inputs))
        torch.testing.assert_close(items[-1].module(task.query.inputs), expected)


def test_lora_changes_factors_and_head_and_predicts_at_no_further_cost(experiment: Make) -> None:
    made = experiment("strategy=lora")
    strategy = made.strategy.eval()
    assert isinstance(strategy, LoRA)
    item = list(islice(strategy.adapt(made.source.tasks("new", [0])[0].support), 3))[-1]
    names = {f"encoder.convs.{i}.weight.lora_{factor}" for i in range(4) for factor in "AB"}
    assert set(item.changed) == {*names, "head.weight", "head.bias"}
    plain = sum(w.numel() for w in strategy.network.encoder.parameters()) + 3 * 8 + 3
    assert sum(w.numel() for w in item.module.parameters()) == plain


@pytest.mark.parametrize("rank", [9, 1000])
def test_lora_refuses_a_rank_above_a_layer_before_training(experiment: Make, rank: int) -> None:
    with pytest.raises(RequestError) as refusal:
        experiment("strategy=lora", f"strategy.rank={rank}")
    assert str(refusal.value) == (
        f"strategy.rank: {rank} is above the smaller side of convs.0.weight, which is 8x9; choose at most 8"
    )


def test_targets_dropout_and_stabilised_scale_reach_the_steps(experiment: Make) -> None:
    def after(*overrides: str) -> dict[str, torch.Tensor]:
        made = experiment("strategy=lora", "strategy.rank=4", "strategy.lr=0.1", *overrides)
        support = made.source.tasks("new", [0])[0].support
        return dict(list(islice(made.strategy.eval().adapt(support), 3))[-1].changed)

    plain, one = after(), after("strategy.targets=[convs.3]")
    assert {name for name in one if "lora" in name} == {
        "encoder.convs.3.weight.lora_A",
        "encoder.convs.3.weight.lora_B",
    }
    twice = after("strategy.alpha=8")  # alpha / 4 of 8 is alpha / sqrt(4) of 4
    stable = after("strategy.rank_stabilised=true")
    assert all(torch.equal(w, twice[name]) for name, w in stable.items())
    name = "encoder.convs.3.weight.lora_B"
    assert not torch.equal(plain[name], stable[name])
    random = [after("strategy.dropout=0.5")[name] for _ in range(2)]
    assert torch.equal(*random)  # by the task's seed
    assert not torch.equal(random[0], plain[name])


def test_unknown_target_is_refused_before_training(experiment: Make) -> None:
    with pytest.raises(
        RequestError, match=r"^strategy.targets: no matrix has query in its name; choose among"
    ):
        experiment("strategy=lora", "strategy.targets=[query]")
