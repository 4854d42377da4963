"""Soft labels against a step worked by hand, and a second network that moves only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Support
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.distillation.distillation import Distillation
from coldstart_cli.strategies.distillation.soft_labels import Follower, SoftLabels, fine_tuned
from coldstart_cli.training.inner_loop import sgd

Make = Callable[..., Experiment]
Array = npt.NDArray[np.float64]


def softmax(logits: Array) -> Array:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def student_and_support(experiment: Make) -> tuple[Distillation, Support]:
    made = experiment("strategy=distill_unlabelled", "dataset.n_unlabelled=4", "dataset.k_shot=2")
    strategy = made.strategy.double().eval()
    assert isinstance(strategy, Distillation)
    return strategy, made.source.tasks("new", [0])[0].support


def test_soft_labels_step_equals_numpy(experiment: Make) -> None:
    strategy, support = student_and_support(experiment)
    soft = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lr, weight, temperature = 0.5, 0.7, 2.0
    assert support.unlabelled is not None
    labels = SoftLabels(support.unlabelled, lambda: soft, weight, temperature)
    items = list(islice(fine_tuned(strategy.network, support, sgd(lr, 0.0), "head", labels), 2))
    with torch.no_grad():
        x = strategy.network.encoder(support.inputs).numpy()
        u = strategy.network.encoder(support.unlabelled).numpy()
    taught = softmax(soft.numpy() / temperature)
    # With a head of zeros every class has probability 1/3, whatever the temperature.
    labelled = (1 / 3 - np.eye(3)[support.targets.numpy()]) / len(x)
    unlabelled = weight * temperature * (1 / 3 - taught) / len(u)
    head, bias = -lr * (labelled.T @ x + unlabelled.T @ u), -lr * (labelled.sum(0) + unlabelled.sum(0))
    np.testing.assert_allclose(items[1].changed["head.weight"].numpy(), head, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(items[1].changed["head.bias"].numpy(), bias, rtol=1e-9, atol=1e-12)
    logs = np.log(taught) - np.log(softmax((u @ head.T + bias) / temperature))
    distance = temperature**2 * (taught * logs).sum(1).mean()
    assert items[0].notes == {}
    assert items[1].notes == {"distance": pytest.approx(distance, rel=1e-9)}


def test_soft_labels_are_asked_for_after_the_first_predictor(experiment: Make) -> None:
    strategy, support = student_and_support(experiment)
    calls: list[int] = []

    def outputs() -> torch.Tensor:
        calls.append(1)
        return torch.zeros(12, 3, dtype=torch.float64)

    assert support.unlabelled is not None
    steps = fine_tuned(
        strategy.network, support, sgd(0.1, 0.0), "all", SoftLabels(support.unlabelled, outputs, 1.0, 1.0)
    )
    next(steps)
    assert not calls
    next(steps)
    assert calls


@pytest.mark.parametrize("soft", [False, True])
def test_support_without_labels_leaves_the_soft_ones(experiment: Make, soft: bool) -> None:
    strategy, support = student_and_support(experiment)
    none = torch.zeros(0, dtype=torch.int64)
    support = replace(
        support, inputs=support.inputs[:0], targets=none, source_classes=torch.tensor([4, 0, 2])  # type: ignore[index]
    )  # fmt: skip
    assert support.unlabelled is not None
    labels = SoftLabels(support.unlabelled, lambda: torch.eye(12, 3, dtype=torch.float64), 1.0, 1.0)
    items = list(
        islice(fine_tuned(strategy.network, support, sgd(0.1, 0.0), "all", labels if soft else None), 3)
    )
    assert len(items) == (3 if soft else 1)
    assert torch.equal(items[0].changed["head.weight"], strategy.network.head.weight.detach()[[4, 0, 2]])
    if soft:
        assert items[2].notes["distance"] < items[1].notes["distance"]


def counting(begun: list[int], length: int) -> Iterator[Adapted]:
    begun.append(0)
    for step in range(length):
        begun[-1] = step

        def build(step: int = step) -> nn.Module:
            return nn.Threshold(step, step)

        yield Adapted(build, {})


def step_of(module: nn.Module) -> Any:
    assert isinstance(module, nn.Threshold)
    return module.threshold


def test_follower_goes_as_far_as_it_is_asked() -> None:
    begun: list[int] = []
    follower = Follower(partial(counting, begun, 100))
    assert begun == []
    assert [step_of(follower.after(n)) for n in (0, 2, 2, 5)] == [0, 2, 2, 5]
    assert begun == [5]


def test_follower_starts_again_for_a_step_that_has_passed() -> None:
    begun: list[int] = []
    follower = Follower(partial(counting, begun, 100))
    assert [step_of(follower.after(n)) for n in (3, 1)] == [3, 1]
    assert begun == [3, 1]


def test_follower_keeps_the_last_predictor() -> None:
    follower = Follower(partial(counting, [], 2))
    assert [step_of(follower.after(n)) for n in (9, 10)] == [1, 1]
