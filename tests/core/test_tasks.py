"""Examples, tasks and what a strategy refuses, from a few numbers by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import (
    Adapted,
    Examples,
    Strategy,
    Support,
    Task,
    TaskShape,
    TaskSource,
    joined,
    map_inputs,
    n_examples,
)
from tests.kit.small_sources import episodes, shifted, sinusoid

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


def named_episodes() -> TaskSource:
    """Episodes whose classes have names."""
    source = episodes()
    source.named = True
    return source


class Fixed(Strategy):
    """Says what it needs, and neither learns nor adapts."""

    def __init__(self, **needs: bool) -> None:
        super().__init__()
        vars(self).update(needs)

    fit = adapt = lambda self, *args: pytest.fail("no test trains it")  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("needs", "source", "shape", "reason"),
    [
        ({}, sinusoid, {}, None),
        ({"needs_classes": True}, sinusoid, {}, "it tells classes apart and these tasks are a regression"),
        ({}, episodes, {"k_shot": 0}, "it learns from labels and k_shot is 0"),
        ({"needs_labels": False}, episodes, {"k_shot": 0}, "k_shot is 0 and the source has other classes"),
        ({"needs_labels": False}, shifted, {"k_shot": 0}, None),
        ({"reads_names": True}, episodes, {"k_shot": 0}, "k_shot is 0 and the classes have no names"),
        ({"reads_names": True}, shifted, {"k_shot": 0}, "k_shot is 0 and the classes have no names"),
        ({"reads_names": True}, named_episodes, {"k_shot": 0}, None),
        ({}, named_episodes, {"k_shot": 0}, "it learns from labels and k_shot is 0"),
        ({"reads_names": True, "needs_labels": False}, shifted, {"k_shot": 0}, None),
        ({"needs_unlabelled": True}, episodes, {"n_unlabelled": 0}, "it learns from unlabelled examples"),
        ({"needs_unlabelled": True}, episodes, {"n_unlabelled": 2}, None),
    ],
)
def test_a_strategy_refuses_what_it_lacks_with_the_reason(
    needs: dict[str, bool], source: object, shape: dict[str, int], reason: str | None
) -> None:
    tasks = source()  # type: ignore[operator]
    tasks.shape = replace(tasks.shape, **shape)
    found = Fixed(**needs).refusal(tasks)
    assert found is None if reason is None else str(found).startswith(reason) and "; " in str(found)


def test_a_strategy_is_transductive_where_a_part_of_it_depends_on_the_batch() -> None:
    strategy = Fixed()
    assert not strategy.transductive
    strategy.norm = nn.BatchNorm1d(2)
    strategy.norm.batch_dependent = True  # type: ignore[assignment]
    assert strategy.transductive


def test_a_predictor_is_made_where_it_is_asked_for() -> None:
    made: list[nn.Module] = []

    def build() -> nn.Module:
        made.append(nn.Identity())
        return made[-1]

    adapted = Adapted(build, {})
    assert made == []
    assert adapted.module is not adapted.module and len(made) == 2
    assert TaskShape(None, 1, 1, 0).n_way is None
