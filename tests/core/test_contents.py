"""The tensors of a task and its hash, which its name, seed and unlabelled examples do not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from coldstart_cli.core.contents import content_hash, raw_hash, tensors_of
from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Support, Task

INPUTS, TARGETS = torch.arange(8.0).reshape(4, 2), torch.tensor([0, 1, 0, 1])
SUPPORT = Support(INPUTS, TARGETS, Classification(2), 0, unlabelled=INPUTS[:1])


def test_every_tensor_of_the_sets_is_found_in_order() -> None:
    support = replace(SUPPORT, source_classes=torch.tensor([5, 3]), names=torch.zeros(2, 3))
    assert [len(t) for t in tensors_of(support, Examples(INPUTS[:3], TARGETS[:3]))] == [4, 4, 1, 2, 2, 3, 3]


def test_content_decides_a_hash_and_no_name_seed_or_unlabelled_example() -> None:
    first = Task(SUPPORT, Examples(INPUTS + 100, TARGETS), "a task")
    assert len(content_hash(first)) == 8
    same = Task(
        replace(first.support, seed=9, unlabelled=None, names=torch.ones(2, 1)), first.query, "another name"
    )
    assert content_hash(same) == content_hash(first)
    moved = Task(first.support, Examples(first.query.inputs, 1 - first.query.targets), first.name)
    assert content_hash(moved) != content_hash(first)


def test_a_raw_hash_is_of_the_examples_in_their_places_and_of_their_targets() -> None:
    one, other = np.arange(4, dtype=np.uint64), np.arange(9, 13, dtype=np.uint64)
    hashes = {
        raw_hash(one, other, TARGETS, TARGETS),
        raw_hash(other, one, TARGETS, TARGETS),
        raw_hash(one[::-1].copy(), other, TARGETS, TARGETS),
        raw_hash(one, other, 1 - TARGETS, TARGETS),
        raw_hash(one[:2], np.concatenate([one[2:], other]), TARGETS[:2], torch.cat([TARGETS[2:], TARGETS])),
    }
    assert len(hashes) == 5 and {len(found) for found in hashes} == {8}
