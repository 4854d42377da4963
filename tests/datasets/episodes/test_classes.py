"""Tables of classes: memory in the number of examples, digests as of the dense table that they replace."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.episodes import drawing
from coldstart_cli.datasets.episodes.classes import ClassTable, class_table
from coldstart_cli.datasets.episodes.counter import task_keys
from coldstart_cli.digests import digest


def table(sizes: list[int], group_of: list[int] | None = None) -> ClassTable:
    ends = np.cumsum(sizes).tolist()
    ids = [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return class_table(ids, group_of=group_of, quarter_turns=None, origins=())


def test_members_of_a_class_are_its_own() -> None:
    made = table([2, 3, 1])
    assert [made.members(number).tolist() for number in range(3)] == [[0, 1], [2, 3, 4], [5]]
    assert (made.starts.tolist(), made.widest, made.room) == ([0, 2, 5], 3, (1, 1))


def test_digest_is_that_of_rows_filled_up_with_their_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coldstart_cli.datasets.episodes.classes._DENSE_CHUNK", 2)
    made = table([2, 7, 1], group_of=[0, 1, *[0, 1] * 3, 2, 2])
    dense = np.array([[0, 1, 0, 0, 0, 0, 0], [2, 3, 4, 5, 6, 7, 8], [9] * 7], dtype=np.int32)
    assert digest(made.dense_parts(made.ids)) == digest([dense])
    assert made.groups is not None
    groups = np.array([[0, 1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1, 2], [2] * 7], dtype=np.int16)
    assert digest(made.dense_parts(made.groups)) == digest([groups])


def test_draws_are_the_same_however_many_classes_are_shuffled_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, keys, shape = table([4, 40, 5, 9, 4]), task_keys(0, "new", range(6)), TaskShape(3, 1, 6, 1)
    classes = drawing.drawn_classes(made, keys, 3, one_origin=False)
    whole = drawing.draw(made, classes, keys, shape, 2)
    monkeypatch.setattr(drawing, "_AT_ONCE", 30)
    parts = drawing.draw(made, classes, keys, shape, 2)
    for name in ("support", "query", "unlabelled", "asked"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name))


def test_one_large_class_takes_memory_for_its_own_examples_alone() -> None:
    tracemalloc.start()
    made = table([6] * 3000 + [200_000])
    keys = task_keys(0, "new", range(4))
    classes = drawing.drawn_classes(made, keys, 5, one_origin=False)
    classes[0, 0] = 3000
    drawing.draw(made, classes, keys, TaskShape(5, 1, 2, 0), 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20  # a row of 200,000 for each class would take 2.4 GB
