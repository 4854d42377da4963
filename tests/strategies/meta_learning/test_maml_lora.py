"""MAML on low-rank weights: its meta-gradient through a transformer, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from coldstart_cli.core.tasks import Task
from coldstart_cli.errors import RequestError
from coldstart_cli.strategies.meta_learning.maml_lora import LowRankMAML
from coldstart_cli.training.meta_batch import same

Make = Callable[..., Any]


def meta_loss(strategy: LowRankMAML, task: Task) -> Tensor:
    loss: Tensor = strategy._task_loss(
        same, strategy._start(), task.support.objective, task.support, task.query
    )["loss"]
    return loss


def on_text(make: Make, folder: Path, *overrides: str) -> tuple[LowRankMAML, Task]:
    made = make("strategy=maml_lora", "model=hf_text", f"model.path={folder}", *overrides)
    strategy = made.strategy.double().train()
    assert isinstance(strategy, LowRankMAML)
    return strategy, made.source.tasks("train", [0])[0]


def moved_off_zero(strategy: LowRankMAML) -> None:
    """B starts at zero, where the gradient of A is zero: a test of it needs another point."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for factor in strategy.factors.values():
            factor.add_(0.1 * torch.randn(factor.shape, generator=generator, dtype=factor.dtype))


def test_meta_gradient_through_a_transformer_equals_finite_differences(
    text_experiment: Make, tiny_bert: Path
) -> None:
    strategy, task = on_text(text_experiment, tiny_bert, "strategy.inner_steps=2")
    moved_off_zero(strategy)
    parameters = [p for p in strategy.parameters() if p.requires_grad]
    assert len(parameters) == 2 * 2 * 6 + 2  # factors of six matrices in each of two layers; the head
    gradients = torch.autograd.grad(meta_loss(strategy, task), parameters)
    assert all(g.abs().sum() > 0 for g in gradients)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    values, epsilon = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(sign * epsilon * d)
        values.append(float(meta_loss(strategy, task).detach()))
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.sub_(sign * epsilon * d)
    difference = (values[0] - values[1]) / (2 * epsilon)
    assert abs(slope - difference) <= 1e-6 * abs(difference)


def test_second_order_differs_from_first_order(text_experiment: Make, tiny_bert: Path) -> None:
    gradients = []
    for order in ("true", "false"):
        strategy, task = on_text(text_experiment, tiny_bert, f"strategy.second_order={order}")
        moved_off_zero(strategy)
        parameters = [p for p in strategy.parameters() if p.requires_grad]
        found = torch.autograd.grad(meta_loss(strategy, task), parameters)
        gradients.append(torch.cat([g.flatten() for g in found]))
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-3)


def test_encoder_stays_and_factors_and_head_learn(text_experiment: Make, tiny_bert: Path) -> None:
    made = text_experiment("strategy=maml_lora", "model=hf_text", f"model.path={tiny_bert}")
    strategy = made.strategy.train()
    before = {name: b.clone() for name, b in strategy.network.encoder.named_buffers()}
    factors = {name: f.detach().clone() for name, f in strategy.factors.items()}
    assert not list(strategy.network.encoder.parameters())
    list(islice(strategy.fit(made.source), 3))
    assert all(torch.equal(b, before[name]) for name, b in strategy.network.encoder.named_buffers())
    assert all(not torch.equal(f, factors[name]) for name, f in strategy.factors.items())
    item = list(islice(strategy.eval().adapt(made.source.tasks("new", [0])[0].support), 2))[1]
    assert set(item.changed) == set(strategy._start())


def test_encoder_that_is_not_pretrained_stays_in_the_state(text_experiment: Make, tiny_bert: Path) -> None:
    made = text_experiment("strategy=maml_lora", "model=embedding_bag", f"model.path={tiny_bert}")
    assert "network.encoder.tokens.weight" in made.strategy.state_dict()
    assert {n for n, p in made.strategy.named_parameters() if p.requires_grad} == {
        "network.head.weight",
        "network.head.bias",
        "factors.encoder/layer/weight/lora_A",
        "factors.encoder/layer/weight/lora_B",
    }


def test_rank_above_a_matrix_is_refused(text_experiment: Make, tiny_bert: Path) -> None:
    with pytest.raises(RequestError, match=r"^strategy\.rank: 17 is above .*16x16; choose at most 16"):
        on_text(text_experiment, tiny_bert, "strategy.rank=17")
