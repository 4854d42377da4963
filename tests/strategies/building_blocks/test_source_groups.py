"""The source in groups: whose examples a group has, and whose turn a step is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from itertools import islice

import torch

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Pool
from coldstart_cli.strategies.building_blocks.source_groups import by_turns, group_pools


def test_turns_are_a_function_of_the_step() -> None:
    def counting(name: int) -> Callable[[int], Iterator[dict[str, float]]]:
        return lambda start: ({"turn": float(name), "own": float(i)} for i in itertools.count(start))

    trainings = [counting(0), counting(1), counting(2)]
    whole = list(islice(by_turns(trainings, 0), 12))
    assert [metrics["turn"] for metrics in whole] == [0, 1, 2] * 4
    assert [metrics["own"] for metrics in whole] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for start in range(8):
        assert list(islice(by_turns(trainings, start), 12 - start)) == whole[start:]


def test_group_pools_hold_the_examples_of_their_classes() -> None:
    first, second, none = group_pools(Numbers(), [torch.tensor([0, 2]), torch.tensor([1]), torch.tensor([9])])
    assert (len(first), len(second), len(none)) == (2500, 1250, 0)
    assert first.examples(torch.tensor([0, 1, 2])).targets.tolist() == [0, 2, 0]
    assert second.examples(torch.arange(1250)).targets.unique().tolist() == [1]


class Numbers(Pool):
    """Input i has class i mod 4."""

    objective = Classification(4)
    groups = ("a", "b", "a", "c")

    def __len__(self) -> int:
        return 5000

    def examples(self, indices: torch.Tensor) -> Examples:
        return Examples(indices.unsqueeze(1), indices % 4)
