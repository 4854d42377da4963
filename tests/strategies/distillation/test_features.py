"""Hints and attention: against loops, and that they reach the student's weights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from coldstart_cli.errors import Unserved
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.distillation.distillation import Distillation
from coldstart_cli.strategies.distillation.features import attention_distance, hint_distance

Make = Callable[..., Experiment]


def maps(channels: int, size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, channels, size, size, generator=generator, dtype=torch.float64)


def test_attention_distance_equals_loops_for_widths_that_differ() -> None:
    student, teacher = [maps(2, 4, 0), maps(2, 2, 1)], [maps(5, 4, 2), maps(5, 2, 3)]
    expected = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        squares = []
        for i in range(3):
            attention = []
            for images in (ours.numpy(), theirs.numpy()):
                flat = np.array([sum(c**2) / len(c) for c in images[i].reshape(len(images[i]), -1).T])
                attention.append(flat / np.sqrt((flat**2).sum()))
            squares += list((attention[0] - attention[1]) ** 2)
        expected += float(np.mean(squares))
    assert float(attention_distance(student, teacher)) == pytest.approx(expected)


def test_attention_does_not_see_scale_and_averages_larger_maps() -> None:
    ours = maps(2, 2, 0)
    assert float(attention_distance([ours], [3 * ours])) == pytest.approx(0.0)
    doubled = ours.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert float(attention_distance([ours], [doubled])) == pytest.approx(0.0)


def test_hint_distance_equals_equation_3_as_a_mean() -> None:
    student, teacher = maps(2, 3, 0), maps(4, 3, 1)
    regressor = nn.Conv2d(2, 4, 1).double()
    weight, bias = regressor.weight.detach().numpy()[:, :, 0, 0], regressor.bias.detach().numpy()  # type: ignore[union-attr]
    total = 0.0
    for i in range(3):
        for y in range(3):
            for x in range(3):
                said = weight @ student[i, :, y, x].numpy() + bias
                total += float(((said - teacher[i, :, y, x].numpy()) ** 2).sum())
    found = hint_distance(student, teacher, regressor).detach()
    assert float(found) == pytest.approx(total / 2 / (3 * 4 * 9))


def test_fitnets_trains_teacher_then_hints_then_student(experiment: Make) -> None:
    shares = ("strategy.teacher_share=0.2", "strategy.hint_share=0.25")
    made = experiment("strategy=fitnets", "training.steps=10", *shares)
    strategy = made.strategy.train()
    assert isinstance(strategy, Distillation)
    steps = strategy.fit(made.source)
    names = [next(iter(metrics)) for metrics in islice(steps, 2)]
    before = {n: w.clone() for n, w in strategy.network.named_parameters()}
    names += [next(iter(metrics)) for metrics in islice(steps, 2)]
    moved = {n for n, w in strategy.network.named_parameters() if not torch.equal(w, before[n])}
    names += [next(iter(metrics)) for metrics in islice(steps, 1)]
    assert names == ["teacher_loss"] * 2 + ["hint_loss"] * 2 + ["loss"]
    assert strategy.preparing_steps == 4
    # The middle of four blocks is the second: nothing behind it learns from a hint.
    assert {n.split(".")[2] for n in moved if "convs" in n} == {"0", "1"}
    assert not any(n.startswith("head") for n in moved)
    assert (
        next(iter(next(strategy.fit(made.source, start=3)))) == "hint_loss"
    )  # a run goes on where it stopped


def test_attention_transfer_adds_its_weighted_distance(experiment: Make) -> None:
    made = experiment("strategy=attention_transfer", "strategy.attention_weight=7")
    strategy = made.strategy.double()
    assert isinstance(strategy, Distillation)
    pool = made.source.pool("train")
    batch = pool.examples(torch.arange(8))
    found = strategy._batch_loss(pool.objective, batch)
    ours, theirs = (list(n.encoder.maps(batch.inputs)) for n in (strategy.network, strategy.teacher))
    assert found["attention"].item() == pytest.approx(attention_distance(ours, theirs).item())
    strategy.attention_weight = 0.0
    without = strategy._batch_loss(pool.objective, batch)
    assert found["loss"].item() == pytest.approx(without["loss"].item() + 7 * found["attention"].item())
    assert found["attention"].item() > 0


@pytest.mark.parametrize("name", ["fitnets", "attention_transfer"])
def test_networks_without_maps_are_refused_with_the_reason(experiment: Make, name: str) -> None:
    with pytest.raises(Unserved, match=r"it compares feature maps of convolutions and MLP has none"):
        experiment(f"strategy={name}", "model=mlp", "model.hidden=[8]")
