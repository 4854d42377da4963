"""Of candidates nothing of the support set is shown at first, then the most alike or a mixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Support
from coldstart_cli.strategies.building_blocks.candidates import (
    Mixture,
    lack_of_groups,
    measured,
    used,
)
from coldstart_cli.strategies.building_blocks.similarity import h_score, leep, logme, n_leep

SUPPORT = Support(torch.zeros(2, 1), torch.tensor([0, 1]), Classification(2), 0)


class Says(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tensor([[self.value, 0.0]]).expand(len(inputs), 2)


def candidate(first: float) -> Callable[[Support], Iterator[Adapted]]:
    """After step s it says first + s."""

    def adapt(support: Support) -> Iterator[Adapted]:
        for step in range(3):
            yield Adapted(lambda step=step: Says(first + step), {"w": torch.tensor(first + step)})

    return adapt


def said(module: nn.Module) -> float:
    out: Tensor = module(torch.zeros(1, 1))
    return float(out[0, 0] - out[0, 1])


def test_the_most_alike_is_taken_after_what_all_taught() -> None:
    candidates = {"a": candidate(10), "b": candidate(20)}
    items = list(used("choose", candidates, candidate(30), [0.1, 0.2], 1.0, SUPPORT))
    assert [said(item.module) for item in items] == [30, 21, 22]
    assert [item.notes for item in items[:2]] == [{}, {"similarity of a": 0.1, "similarity of b": 0.2}]
    assert [said(items[2].beside[name]()) for name in "ab"] == [12, 22]


def test_a_mixture_weighs_all_alike_first_and_by_similarity_then() -> None:
    candidates = {"a": candidate(1), "b": candidate(2)}
    items = list(used("weight", candidates, candidate(3), [0.0, 0.5], 0.5, SUPPORT))
    b = torch.tensor([0.0, 1.0]).softmax(0)[1].item()
    # of log-probabilities, whose differences mix as logits do
    assert [said(item.module) for item in items] == pytest.approx([1.5, 2 + b, 3 + b])
    assert isinstance(items[1].module, Mixture) and set(items[1].beside) == {"a", "b"}
    assert set(items[0].changed) == {"experts.0.network.w", "experts.1.network.w", "weights"}


def test_each_measure_is_its_own_function() -> None:
    torch.manual_seed(0)
    features, logits, y = torch.randn(9, 4), torch.randn(9, 5), torch.arange(9) % 3
    assert measured("leep", features, logits, y, 3, 1) == leep(logits.softmax(1), y, 3)
    assert measured("logme", features, logits, y, 3, 1) == logme(features, torch.eye(3)[y])
    assert measured("n_leep", features, logits, y, 3, 2) == n_leep(features, y, 3, 2)
    assert measured("h_score", features, logits, y, 3, 1) == h_score(features, y, 3)


def test_one_group_is_no_choice() -> None:
    assert lack_of_groups(2) is None
    assert "these data name 1; choose dataset=glyphs" in str(lack_of_groups(1))
