"""What every strategy says of itself, and what it yields."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import TaskShape, TaskSource
from tests.kit.small_sources import episodes, shifted, sinusoid


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
