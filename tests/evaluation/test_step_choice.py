"""A task that chooses its own number of steps: by labels, by unlabelled examples, or not at all."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.evaluation.step_choice import means_of, mutual_information, outputs_after, own_step


class Says(nn.Module):
    """Logits that tell the class of an input, which is its first feature, as surely as `scale` says."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale * nn.functional.one_hot(inputs[:, 0].long(), 2).float()


class Stepping(Strategy):
    """Its predictors in turn; it ends after the last."""

    def __init__(self, *scales: float) -> None:
        super().__init__()
        self.scales = scales

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        raise NotImplementedError

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        for scale in self.scales:
            yield Adapted(lambda scale=scale: Says(scale), {})  # type: ignore[misc]


def support(labels: list[int], *, unlabelled: bool = False) -> Support:
    inputs = torch.tensor([[float(label), float(i)] for i, label in enumerate(labels)])
    free = torch.tensor([[0.0, 9.0], [1.0, 9.0], [0.0, 8.0], [1.0, 8.0]]) if unlabelled else None
    return Support(inputs, torch.tensor(labels), Classification(2), 0, free)


def test_outputs_after_keep_the_last_predictor_of_a_strategy_that_ends() -> None:
    found = dict(outputs_after(Stepping(1.0, 2.0), support([0, 1]), torch.zeros(1, 2), [0, 1, 5]))
    assert {step: float(outputs[0, 0]) for step, outputs in found.items()} == {0: 1.0, 1: 2.0, 5: 2.0}


@pytest.mark.parametrize(
    ("labels", "unlabelled", "means"),
    [
        ([0, 0, 1, 1], True, "labels"),
        ([0, 0, 1], True, "unlabelled"),
        ([0, 0], True, "unlabelled"),  # a class without a label
        ([0, 1], False, "last"),
    ],
)
def test_means_follow_from_what_the_task_has(labels: list[int], unlabelled: bool, means: str) -> None:
    assert means_of(support(labels, unlabelled=unlabelled)) == means


def test_regression_without_labels_enough_takes_the_last_step() -> None:
    few = Support(torch.zeros(2, 1), torch.zeros(2, 1), Regression(1), 0, torch.zeros(5, 1))
    assert means_of(few) == "last"


def test_own_step_is_the_one_that_labels_held_out_agree_with() -> None:
    # Wrong after 0 and 2 steps, right after 1.
    assert own_step(Stepping(-1.0, 1.0, -1.0), support([0, 0, 0, 1, 1, 1]), [0, 1, 2]) == 1


def test_own_step_without_labels_wants_answers_that_are_sure() -> None:
    assert own_step(Stepping(0.1, 5.0, 0.2), support([0, 1], unlabelled=True), [0, 1, 2]) == 1


def test_own_step_with_nothing_to_choose_by_is_the_last() -> None:
    assert own_step(Stepping(5.0, 0.1), support([0, 1]), [0, 1, 7]) == 7


def test_mutual_information_by_hand() -> None:
    # Sure and balanced: ln 2. Sure and always the same, or never sure: nothing.
    sure = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    assert mutual_information(sure) == pytest.approx(math.log(2), abs=1e-9)
    assert mutual_information(sure[:1]) == pytest.approx(0, abs=1e-9)
    assert mutual_information(torch.zeros(3, 2)) == pytest.approx(0, abs=1e-9)
    p = torch.tensor([[0.8, 0.2], [0.4, 0.6]], dtype=torch.float64)

    def entropy(*shares: float) -> float:
        return -sum(share * math.log(share) for share in shares)

    by_hand = entropy(0.6, 0.4) - (entropy(0.8, 0.2) + entropy(0.4, 0.6)) / 2
    assert mutual_information(p.log()) == pytest.approx(by_hand)
