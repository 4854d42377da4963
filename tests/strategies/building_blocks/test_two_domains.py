"""What alignment strategies share: the head of the task, tasks without labels, the memory of the source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import torch
from torch import nn

from coldstart_cli.core.tasks import Support
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.strategies.alignment.feature_distance import DomainDistance
from coldstart_cli.strategies.building_blocks.source_memory import Memory

Make = Callable[..., Experiment]


def filled(made: Experiment) -> tuple[nn.Module, Support]:
    strategy = made.strategy.double().eval()
    next(iter(strategy.fit(made.source)))
    return strategy.eval(), made.source.tasks("new", [0])[0].support


def test_shared_labels_start_from_rows_of_the_source_head(experiment: Make) -> None:
    strategy, support = filled(experiment("strategy=ccsa"))
    assert isinstance(strategy, DomainDistance)
    item = next(strategy.adapt(replace(support, source_classes=torch.tensor([4, 0, 9]))))
    torch.testing.assert_close(item.changed["head.weight"], strategy.network.head.weight.detach()[[4, 0, 9]])
    assert not next(strategy.adapt(support)).changed["head.weight"].any()


def test_task_without_labels_is_adapted_to_by_its_unlabelled_examples(experiment: Make) -> None:
    strategy, support = filled(experiment("strategy=mmd", "dataset.n_unlabelled=3"))
    assert isinstance(support.inputs, torch.Tensor)
    bare = replace(
        support,
        inputs=support.inputs[:0],
        targets=support.targets[:0],
        source_classes=torch.tensor([4, 0, 9]),
    )
    notes = [item.notes["distance"] for item in islice(strategy.adapt(bare), 4)]  # type: ignore[operator]
    assert len(set(notes)) == 4


def test_memory_travels_with_the_state(experiment: Make) -> None:
    strategy, support = filled(experiment("strategy=coral", "dataset.n_unlabelled=3"))
    other = experiment("strategy=coral", "dataset.n_unlabelled=3").strategy.double().eval()
    assert isinstance(other, DomainDistance) and isinstance(other.memory, Memory)
    other.load_state_dict(strategy.state_dict())
    assert len(other.memory) > 0
    ours, theirs = (
        list(islice(s.adapt(support), 3))[-1].changed["head.weight"]  # type: ignore[operator]
        for s in (strategy, other)
    )
    assert torch.equal(ours, theirs)
