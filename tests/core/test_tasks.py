"""Examples, tasks and what a strategy refuses, from a few numbers by hand."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import (
    Examples,
    Support,
    Task,
    joined,
    map_inputs,
    n_examples,
)

TOKENS = {"ids": torch.arange(6).reshape(3, 2), "mask": torch.ones(3, 2)}


def task(seed: int = 0) -> Task:
    inputs = torch.arange(8.0).reshape(4, 2)
    targets = torch.tensor([0, 1, 0, 1])
    support = Support(inputs, targets, Classification(2), seed, unlabelled=inputs[:1])
    return Task(support, Examples(inputs + 100, targets), "a task")


def test_inputs_may_be_a_tensor_or_several_by_name() -> None:
    assert n_examples(TOKENS) == n_examples(TOKENS["ids"]) == 3
    doubled = map_inputs(lambda t: t * 2, TOKENS)
    assert not isinstance(doubled, Tensor) and torch.equal(doubled["ids"], 2 * TOKENS["ids"])
    both = joined(TOKENS, {name: tensor[:1] for name, tensor in TOKENS.items()})
    assert not isinstance(both, Tensor) and both["ids"].tolist() == [[0, 1], [2, 3], [4, 5], [0, 1]]
    assert joined(torch.zeros(2, 3), torch.ones(1, 3)).sum() == 3  # type: ignore[union-attr]


def test_examples_are_taken_by_their_places_with_their_targets() -> None:
    taken = Examples(TOKENS, torch.tensor([7, 8, 9])).take(torch.tensor([2, 0]))
    assert taken.targets.tolist() == [9, 7] and len(taken) == 2
    assert taken.inputs["ids"].tolist() == [[4, 5], [0, 1]]  # type: ignore[index, call-overload]


def test_a_map_reaches_every_tensor_of_a_support_set() -> None:
    support = replace(task().support, source_classes=torch.tensor([5, 3]), names=torch.zeros(2, 3))
    mapped = support.map(lambda t: t + 1)
    assert torch.equal(mapped.unlabelled, support.unlabelled + 1)  # type: ignore[operator, arg-type]
    assert mapped.source_classes is not None and mapped.source_classes.tolist() == [6, 4]
    assert torch.equal(mapped.names, torch.ones(2, 3))  # type: ignore[arg-type]
    assert mapped.targets.tolist() == [1, 2, 1, 2] and mapped.objective is support.objective
