"""What a source model remembers, against loops over its pool."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Pool
from coldstart_cli.strategies.alignment.source_knowledge import SourceKnowledge

WIDTH = 3


class Small(Pool):
    """Four classes, the third without an example, and names beside them."""

    objective = Classification(4)

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(12, WIDTH, generator=generator, dtype=torch.float64)
        self.targets = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 3, 3, 3, 3])
        self.read_names = torch.randn(4, WIDTH, generator=generator, dtype=torch.float64)

    def __len__(self) -> int:
        return 12

    def examples(self, indices: Tensor) -> Examples:
        return Examples(self.inputs[indices], self.targets[indices])


def filled() -> tuple[SourceKnowledge, Small]:
    memory, pool = SourceKnowledge(4, WIDTH).double(), Small()
    memory.fill(torch.nn.Identity(), pool)
    return memory, pool


def test_fill_equals_a_loop() -> None:
    memory, pool = filled()
    x, y = pool.inputs.numpy(), pool.targets.numpy()
    centre = np.mean([x[y == c].mean(0) for c in (0, 1, 3)], axis=0)
    np.testing.assert_allclose(memory.centre, centre)
    moved = (x - centre) / np.linalg.norm(x - centre, axis=1, keepdims=True)
    for c in (0, 1, 3):
        np.testing.assert_allclose(memory.known[c], moved[y == c].mean(0))
    assert not memory.known[2].any()
    assert memory.sizes.tolist() == [5, 3, 0, 4]
    names = pool.read_names.numpy() - pool.read_names.numpy().mean(0)
    np.testing.assert_allclose(memory.names, names / np.linalg.norm(names, axis=1, keepdims=True))


def test_a_training_task_is_hidden_from_what_is_known() -> None:
    memory, pool = filled()
    task = torch.cat([torch.arange(5, 8), torch.arange(8, 12)])
    features = memory.centred(pool.inputs[task])
    targets = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    found = memory.without(features, targets, 2, shared=False)
    assert found.own.tolist() == [1, 3]
    assert found.open.tolist() == [[True, False, False, False]] * 2  # the third has no example


def test_a_shared_class_is_known_by_its_other_examples_alone() -> None:
    memory, pool = filled()
    some = torch.tensor([0, 1, 5, 6, 7])
    features, targets = memory.centred(pool.inputs[some]), torch.tensor([0, 0, 1, 1, 1])
    found = memory.without(features, targets, 2, shared=True)
    others = memory.centred(pool.inputs[2:5]).mean(0)
    torch.testing.assert_close(found.known[0], others)
    assert not found.known[1].any()  # all of its examples are in the task
    torch.testing.assert_close(found.known[3], memory.known[3])
    assert found.open.tolist() == [[True, False, False, False], [False, True, False, False]]


def test_new_classes_are_open_to_all_that_is_known_and_shared_ones_to_themselves() -> None:
    memory, _ = filled()
    assert memory.open_to(2, None).tolist() == [[True, True, False, True]] * 2
    assert memory.open_to(2, torch.tensor([3, 0])).int().argmax(-1).tolist() == [3, 0]
